-- Prices of SKUs. The price of a hold is the one in force when it was granted: both times are read under the
-- SKU's lock.
create table tidegate.price(
  sku text collate "C" not null,
  since timestamptz not null,
  amount bigint not null check (amount > 0),
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  primary key (sku, since)
);

-- A payment for a hold, and the order that comes of it. A node that works on it has the lease; a change names the
-- version that was read.
create table tidegate.checkout(
  id text collate "C" primary key,
  hold uuid not null,
  customer text not null,
  digest bigint not null,
  provider text not null,
  method text not null,
  amount bigint not null check (amount > 0),
  currency text not null,
  captures_later boolean not null,
  reference text,
  phase text not null default 'preparing',
  sent boolean not null default false,
  number int not null default 1,
  operation_amount bigint not null,
  captured bigint not null default 0 check (captured between 0 and amount),
  refunded bigint not null default 0 check (refunded between 0 and captured),
  ordered boolean not null default false,
  cancelling boolean not null default false,
  reason text,
  version bigint not null default 1,
  tries bigint not null default 1,
  due_at timestamptz,
  leased_until timestamptz,
  created_at timestamptz not null,
  changed_at timestamptz not null,
  ordered_at timestamptz
) with (fillfactor = 70);
-- One order for each hold, by any keys and tabs.
create unique index checkout_hold on tidegate.checkout(hold) where phase not in ('declined', 'released');
create index checkout_attempts on tidegate.checkout(hold);
create index checkout_due on tidegate.checkout(due_at) where due_at is not null;
create index checkout_reference on tidegate.checkout(reference);
create index checkout_changed on tidegate.checkout(changed_at);

-- The transitions, for the audit: rows are only added.
create table tidegate.checkout_step(
  checkout text collate "C" not null,
  version bigint not null,
  number int not null,
  before text not null,
  after text not null,
  at timestamptz not null,
  primary key (checkout, version, number)
);

-- The calls to providers: recorded before they are made.
create table tidegate.payment_attempt(
  key text collate "C" primary key,
  checkout text collate "C" not null,
  operation text not null,
  amount bigint not null,
  outcome text not null check (outcome in ('sent', 'done', 'declined')),
  at timestamptz not null,
  ended_at timestamptz
);
create index payment_attempt_checkout on tidegate.payment_attempt(checkout);

create table tidegate.webhook(
  provider text collate "C" not null,
  event text collate "C" not null,
  at timestamptz not null,
  primary key (provider, event)
);
create index webhook_at on tidegate.webhook using brin(at);

-- Events of orders, written with the change that they report. The transaction's number makes the order of reading
-- that of commits: rows of transactions that may still be open are not read.
create table tidegate.outbox(
  id bigint generated always as identity primary key,
  transaction xid8 not null default pg_current_xact_id(),
  checkout text collate "C" not null,
  number int not null,
  kind text not null,
  body text not null,
  at timestamptz not null,
  unique (checkout, number)
);
create index outbox_order on tidegate.outbox(transaction, id);

alter table tidegate.request add column checkout text collate "C";

create function tidegate.set_price(wanted_sku text, wanted_amount bigint, wanted_currency text)
returns boolean
language plpgsql as $$
begin
  perform 1 from tidegate.sku s where s.sku = wanted_sku for no key update;
  if not found then
    return false;
  end if;
  insert into tidegate.price(sku, since, amount, currency)
    select wanted_sku, clock_timestamp(), wanted_amount, wanted_currency
    where not exists (select from (select p.amount, p.currency from tidegate.price p
        where p.sku = wanted_sku order by p.since desc limit 1) last
      where last.amount = wanted_amount and last.currency = wanted_currency);
  return true;
end $$;

-- Begins a checkout, unless its key, its payment or its hold has one.
create function tidegate.begin_checkout(
  wanted_key text, wanted_digest bigint, wanted_id text, wanted_hold uuid, wanted_provider text,
  wanted_method text, wanted_amount bigint, wanted_currency text, wanted_later boolean,
  lease_ms bigint, keep_ms bigint, attempts_max bigint)
returns table(outcome text, checkout text, state text)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  known tidegate.request;
  held tidegate.hold;
  other tidegate.checkout;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(wanted_key, 7409)) then
    return query select 'in-flight', null::text, null::text;
    return;
  end if;
  select * into known from tidegate.request r where r.key = wanted_key;
  if known.key is not null then
    return query select case when known.digest = wanted_digest and known.checkout is not null
      then 'known' else 'reused' end, known.checkout, null::text;
    return;
  end if;
  select * into held from tidegate.hold h where h.id = wanted_hold for no key update;
  now := clock_timestamp();
  if held.id is null then
    return query select 'unknown', null::text, null::text;
    return;
  end if;
  select * into other from tidegate.checkout c
    where c.hold = wanted_hold and c.phase not in ('declined', 'released');
  if other.id is not null then
    if other.digest <> wanted_digest then
      return query select 'other', other.id, null::text;
      return;
    end if;
    insert into tidegate.request(key, digest, at, checkout) values (wanted_key, wanted_digest, now, other.id);
    return query select 'known', other.id, null::text;
    return;
  end if;
  if held.state <> 'active' or held.expires_at <= now then
    return query select 'ended', null::text,
      case held.state when 'active' then 'expired' else held.state end;
    return;
  end if;
  if (select count(*) from tidegate.checkout c where c.hold = wanted_hold) >= attempts_max then
    return query select 'too-many', null::text, null::text;
    return;
  end if;
  insert into tidegate.checkout(id, hold, customer, digest, provider, method, amount, currency,
      captures_later, operation_amount, due_at, leased_until, created_at, changed_at)
    values (wanted_id, wanted_hold, held.customer, wanted_digest, wanted_provider, wanted_method,
      wanted_amount, wanted_currency, wanted_later, wanted_amount, now,
      now + lease_ms * interval '1 millisecond', now, now);
  insert into tidegate.request(key, digest, at, checkout) values (wanted_key, wanted_digest, now, wanted_id);
  update tidegate.hold h set expires_at = greatest(h.expires_at, now + keep_ms * interval '1 millisecond')
    where h.id = wanted_hold;
  return query select 'begun', wanted_id, null::text;
end $$;

-- Records changes of a checkout, all or none. A hold is confirmed by the function that confirms it for clients.
create function tidegate.change_checkout(
  wanted_id text, read_version bigint, flags boolean[], numbers bigint[], path text[],
  new_reference text, new_reason text, due_ms bigint, lease_ms bigint, keep_ms bigint,
  attempt_keys text[], attempt_operations text[], attempt_amounts bigint[], attempt_outcomes text[],
  event_kinds text[], event_bodies text[], request_key text, request_digest bigint)
returns text
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  kept tidegate.checkout;
  places_order constant boolean := flags[4];
  restocks constant boolean := flags[5];
begin
  select * into kept from tidegate.checkout c where c.id = wanted_id for no key update;
  if kept.id is null or kept.version <> read_version then
    return 'stale';
  end if;
  if request_key is not null then
    insert into tidegate.request(key, digest, at, checkout)
      values (request_key, request_digest, clock_timestamp(), wanted_id) on conflict do nothing;
    if not found then
      return 'key';
    end if;
  end if;
  if places_order and 'done' is distinct from (select e.outcome from tidegate.end_batch(
      array[kept.hold], array['confirmed'], array[null]::text[], array[null]::bigint[]) e) then
    return 'hold-ended';
  end if;
  if restocks then
    perform 1 from tidegate.sku s where s.sku = any(array(select m.sku from tidegate.movement m
      where m.hold = kept.hold and m.kind = 'hold')) order by s.sku for no key update;
  end if;
  now := clock_timestamp();
  if restocks then
    insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, reason)
      select now, 'adjust', m.sku, m.location, m.held, 0, 0, 'order ' || wanted_id || ' cancelled'
      from tidegate.movement m where m.hold = kept.hold and m.kind = 'hold';
    update tidegate.stock t set on_hand = t.on_hand + m.held from tidegate.movement m
      where m.hold = kept.hold and m.kind = 'hold' and t.sku = m.sku and t.location = m.location;
  end if;
  if keep_ms > 0 then
    update tidegate.hold h set expires_at = greatest(h.expires_at, now + keep_ms * interval '1 millisecond')
      where h.id = kept.hold and h.state = 'active' and h.expires_at > now;
  end if;
  update tidegate.checkout c set
      phase = path[cardinality(path)], sent = flags[1], ordered = flags[2], cancelling = flags[3],
      number = numbers[1], operation_amount = numbers[2], captured = numbers[3], refunded = numbers[4],
      reference = coalesce(new_reference, c.reference), reason = new_reason, version = c.version + 1,
      tries = case when cardinality(path) > 1 then 0 else c.tries end,
      due_at = now + due_ms * interval '1 millisecond',
      leased_until = case when lease_ms > 0 then now + lease_ms * interval '1 millisecond' end,
      changed_at = now, ordered_at = case when places_order then now else c.ordered_at end
    where c.id = wanted_id;
  insert into tidegate.checkout_step(checkout, version, number, before, after, at)
    select wanted_id, read_version + 1, n, path[n], path[n + 1], now
    from generate_series(1, cardinality(path) - 1) n;
  insert into tidegate.payment_attempt as a(key, checkout, operation, amount, outcome, at, ended_at)
    select u.key, wanted_id, u.operation, u.amount, u.outcome, now,
      case when u.outcome <> 'sent' then now end
    from unnest(attempt_keys, attempt_operations, attempt_amounts, attempt_outcomes)
      u(key, operation, amount, outcome)
    on conflict (key) do update set outcome = excluded.outcome, ended_at = excluded.ended_at;
  insert into tidegate.outbox(checkout, number, kind, body, at)
    select wanted_id, u.n + (select count(*) from tidegate.outbox o where o.checkout = wanted_id),
      u.kind, u.body, now
    from unnest(event_kinds, event_bodies) with ordinality u(kind, body, n);
  return 'recorded';
end $$;

-- Records an event of a provider, and makes its checkout due.
create function tidegate.note_webhook(wanted_provider text, wanted_event text, wanted_reference text)
returns boolean
language plpgsql as $$
begin
  insert into tidegate.webhook(provider, event, at)
    values (wanted_provider, wanted_event, clock_timestamp()) on conflict do nothing;
  if not found then
    return false;
  end if;
  update tidegate.checkout c set due_at = least(c.due_at, clock_timestamp())
    where c.reference = wanted_reference and c.provider = wanted_provider and c.due_at is not null;
  return true;
end $$;
