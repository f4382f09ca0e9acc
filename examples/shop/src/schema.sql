create table if not exists categories(
  id   integer primary key,
  name text not null
);
create table if not exists products(
  id          integer primary key,
  sku         text    not null unique,
  name        text    not null,
  description text    not null,
  category_id integer not null references categories(id),
  price_cents integer not null check (price_cents >= 0),
  currency    text    not null,
  stock       integer not null check (stock >= 0)
);
create index if not exists products_by_category on products(category_id, id);
create table if not exists orders(
  id     integer primary key autoincrement,
  kind   text    not null check (kind in ('order', 'return')),
  at_us  integer not null default (cast(unixepoch('subsec') * 1000000 as integer))
);
create table if not exists order_lines(
  order_id    integer not null references orders(id),
  product_id  integer not null references products(id),
  quantity    integer not null check (quantity > 0),
  price_cents integer not null
);

-- Every committed value of the fields that pages show, regardless of the writer. `at_us` is taken
-- inside the transaction, so it is at or before the commit; SQLite's clock has a resolution of 1 ms.
create table if not exists product_history(
  seq        integer primary key autoincrement,
  product_id integer not null,
  field      text    not null check (field in ('price', 'stock', 'name')),
  value      not null,
  at_us      integer not null default (cast(unixepoch('subsec') * 1000000 as integer))
);
create trigger if not exists history_price after update of price_cents on products
when old.price_cents <> new.price_cents begin
  insert into product_history(product_id, field, value) values (new.id, 'price', new.price_cents);
end;
create trigger if not exists history_stock after update of stock on products
when old.stock <> new.stock begin
  insert into product_history(product_id, field, value) values (new.id, 'stock', new.stock);
end;
create trigger if not exists history_name after update of name on products
when old.name <> new.name begin
  insert into product_history(product_id, field, value) values (new.id, 'name', new.name);
end;

create virtual table if not exists product_search
  using fts5(name, description, content = 'products', content_rowid = 'id');
create trigger if not exists search_insert after insert on products begin
  insert into product_search(rowid, name, description) values (new.id, new.name, new.description);
end;
create trigger if not exists search_update after update of name, description on products begin
  insert into product_search(product_search, rowid, name, description)
    values ('delete', old.id, old.name, old.description);
  insert into product_search(rowid, name, description) values (new.id, new.name, new.description);
end;
