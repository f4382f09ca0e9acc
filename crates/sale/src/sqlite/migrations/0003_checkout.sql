-- As in PostgreSQL, with integers for times: ms since 1970.
create table tidegate_price(
  sku text not null,
  since integer not null,
  amount integer not null check (amount > 0),
  currency text not null,
  primary key (sku, since)
) strict, without rowid;

create table tidegate_checkout(
  id text primary key,
  hold text not null,
  customer text not null,
  digest integer not null,
  provider text not null,
  method text not null,
  amount integer not null check (amount > 0),
  currency text not null,
  captures_later integer not null,
  reference text,
  phase text not null default 'preparing',
  sent integer not null default 0,
  number integer not null default 1,
  operation_amount integer not null,
  captured integer not null default 0 check (captured between 0 and amount),
  refunded integer not null default 0 check (refunded between 0 and captured),
  ordered integer not null default 0,
  cancelling integer not null default 0,
  reason text,
  version integer not null default 1,
  tries integer not null default 1,
  due_at integer,
  leased_until integer,
  created_at integer not null,
  changed_at integer not null,
  ordered_at integer
) strict, without rowid;
create unique index tidegate_checkout_hold on tidegate_checkout(hold) where phase not in ('declined', 'released');
create index tidegate_checkout_attempts on tidegate_checkout(hold);
create index tidegate_checkout_due on tidegate_checkout(due_at) where due_at is not null;
create index tidegate_checkout_reference on tidegate_checkout(reference);

create table tidegate_checkout_step(
  checkout text not null,
  version integer not null,
  number integer not null,
  before text not null,
  after text not null,
  at integer not null,
  primary key (checkout, version, number)
) strict, without rowid;

create table tidegate_payment_attempt(
  key text primary key,
  checkout text not null,
  operation text not null,
  amount integer not null,
  outcome text not null check (outcome in ('sent', 'done', 'declined')),
  at integer not null,
  ended_at integer
) strict, without rowid;
create index tidegate_payment_attempt_checkout on tidegate_payment_attempt(checkout);

create table tidegate_webhook(
  provider text not null,
  event text not null,
  at integer not null,
  primary key (provider, event)
) strict, without rowid;

create table tidegate_outbox(
  id integer primary key autoincrement,
  checkout text not null,
  number integer not null,
  kind text not null,
  body text not null,
  at integer not null,
  unique (checkout, number)
) strict;

alter table tidegate_request add column checkout text;
