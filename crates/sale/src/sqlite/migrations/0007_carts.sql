-- As in PostgreSQL.
create table tidegate_cart(
  id text primary key,
  version integer not null,
  customer text not null,
  lines text not null,
  is_deleted integer not null,
  hold text,
  holds integer not null default 0,
  created_at integer not null,
  changed_at integer not null
) strict, without rowid;

create table tidegate_cart_hold(
  hold text primary key,
  cart text not null,
  version integer not null,
  number integer not null,
  at integer not null
) strict, without rowid;
create index tidegate_cart_hold_cart on tidegate_cart_hold(cart);
