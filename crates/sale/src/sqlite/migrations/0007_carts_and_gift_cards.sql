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

create table tidegate_gift_card(
  code_hash text primary key,
  currency text not null,
  issued integer not null check (issued > 0),
  reserved integer not null default 0 check (reserved >= 0),
  spent integer not null default 0 check (spent >= 0),
  created_at integer not null,
  check (issued >= reserved + spent)
) strict, without rowid;

create table tidegate_gift_movement(
  id integer primary key autoincrement,
  at integer not null,
  card text not null,
  kind text not null check (kind in ('issue', 'reserve', 'release', 'spend', 'return')),
  issued integer not null,
  reserved integer not null,
  spent integer not null,
  checkout text,
  key text
) strict;
create index tidegate_gift_movement_card on tidegate_gift_movement(card);
create index tidegate_gift_movement_checkout on tidegate_gift_movement(checkout);

alter table tidegate_checkout add column gift_card text;
alter table tidegate_checkout add column gift_amount integer not null default 0
  check (gift_amount between 0 and amount);
alter table tidegate_checkout add column gift_returned integer not null default 0
  check (gift_returned between 0 and gift_amount);
