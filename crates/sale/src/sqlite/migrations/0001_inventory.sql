-- As in PostgreSQL, with integers for times: ms since 1970.
create table tidegate_sku(
  sku text primary key,
  policy text not null default 'strict'
    check (policy in ('strict', 'oversell-units', 'oversell-percent')),
  oversell integer not null default 0 check (oversell >= 0),
  customer_limit integer check (customer_limit > 0)
) strict, without rowid;

create table tidegate_stock(
  sku text not null references tidegate_sku,
  location text not null,
  on_hand integer not null check (on_hand >= 0),
  held integer not null default 0 check (held >= 0),
  sold integer not null default 0 check (sold >= 0),
  primary key (sku, location)
) strict, without rowid;

create table tidegate_hold(
  id text primary key,
  customer text not null,
  state text not null check (state in ('active', 'confirmed', 'cancelled', 'expired')),
  extended integer not null default 0,
  created_at integer not null,
  expires_at integer not null,
  ended_at integer
) strict, without rowid;
create index tidegate_hold_due on tidegate_hold(expires_at) where state = 'active';

create table tidegate_movement(
  id integer primary key autoincrement,
  at integer not null,
  kind text not null
    check (kind in ('set', 'policy', 'adjust', 'hold', 'confirmed', 'cancelled', 'expired')),
  sku text not null,
  location text not null,
  on_hand integer not null,
  held integer not null,
  sold integer not null,
  hold text,
  key text,
  reason text
) strict;
create index tidegate_movement_hold on tidegate_movement(hold) where kind = 'hold';

create table tidegate_customer_units(
  sku text not null,
  customer text not null,
  units integer not null check (units >= 0),
  primary key (sku, customer)
) strict, without rowid;

create table tidegate_request(
  key text primary key,
  digest integer not null,
  at integer not null,
  hold text,
  result integer,
  on_hand integer,
  held integer,
  sold integer
) strict, without rowid;
create index tidegate_request_at on tidegate_request(at);
