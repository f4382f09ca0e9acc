-- Gift cards: a balance, changed by movements that are only added, as stock is. The code is not stored, but its digest.
create table tidegate.gift_card(
  code_hash text collate "C" primary key,
  currency text not null check (currency ~ '^[A-Z]{3}$'),
  issued bigint not null check (issued > 0),
  reserved bigint not null default 0 check (reserved >= 0),
  spent bigint not null default 0 check (spent >= 0),
  created_at timestamptz not null,
  check (issued >= reserved + spent)
) with (fillfactor = 70);

create table tidegate.gift_movement(
  id bigint generated always as identity primary key,
  at timestamptz not null,
  card text collate "C" not null,
  kind text not null check (kind in ('issue', 'reserve', 'release', 'spend', 'return')),
  issued bigint not null,
  reserved bigint not null,
  spent bigint not null,
  checkout text collate "C",
  key text
);
create index gift_movement_card on tidegate.gift_movement(card);
create index gift_movement_checkout on tidegate.gift_movement(checkout);

alter table tidegate.checkout
  add column gift_card text collate "C",
  add column gift_amount bigint not null default 0 check (gift_amount between 0 and amount),
  add column gift_returned bigint not null default 0 check (gift_returned between 0 and gift_amount);

create function tidegate.issue_gift(
  wanted_key text, wanted_digest bigint, wanted_hash text, wanted_amount bigint, wanted_currency text)
returns text
language plpgsql as $$
declare
  now timestamptz;
  known bigint;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(wanted_key, 7409)) then
    return 'in-flight';
  end if;
  select r.digest into known from tidegate.request r where r.key = wanted_key;
  if found then
    return case when known = wanted_digest then 'repeated' else 'reused' end;
  end if;
  now := clock_timestamp();
  insert into tidegate.gift_card(code_hash, currency, issued, created_at)
    values (wanted_hash, wanted_currency, wanted_amount, now) on conflict do nothing;
  if not found then
    return 'exists';
  end if;
  insert into tidegate.gift_movement(at, card, kind, issued, reserved, spent, key)
    values (now, wanted_hash, 'issue', wanted_amount, 0, 0, wanted_key);
  insert into tidegate.request(key, digest, at) values (wanted_key, wanted_digest, now);
  return 'done';
end $$;

create function tidegate.move_gift(
  wanted_hash text, wanted_kind text, more_reserved bigint, more_spent bigint, wanted_checkout text)
returns void
language plpgsql as $$
begin
  update tidegate.gift_card g set reserved = g.reserved + more_reserved, spent = g.spent + more_spent
    where g.code_hash = wanted_hash;
  if not found then
    raise exception 'the gift card of the checkout % is missing', wanted_checkout;
  end if;
  insert into tidegate.gift_movement(at, card, kind, issued, reserved, spent, checkout)
    values (clock_timestamp(), wanted_hash, wanted_kind, 0, more_reserved, more_spent, wanted_checkout);
end $$;

-- Moves the gift card's part with each transition of its checkout, as rules::gift_moves, whichever function records it.
create function tidegate.move_gift_of_checkout()
returns trigger
language plpgsql as $$
begin
  if new.ordered and not old.ordered then
    perform tidegate.move_gift(new.gift_card, 'spend', -new.gift_amount, new.gift_amount, new.id);
  end if;
  if not new.ordered and new.phase in ('declined', 'released', 'cancelled')
      and not (not old.ordered and old.phase in ('declined', 'released', 'cancelled')) then
    perform tidegate.move_gift(new.gift_card, 'release', -new.gift_amount, 0, new.id);
  end if;
  if new.gift_returned > old.gift_returned then
    perform tidegate.move_gift(new.gift_card, 'return', 0, old.gift_returned - new.gift_returned, new.id);
  end if;
  return null;
end $$;

create trigger gift_of_checkout after update on tidegate.checkout
  for each row when (new.gift_card is not null and old.gift_card is not null)
  execute function tidegate.move_gift_of_checkout();

-- Begins a checkout whose price is paid by a gift card, in whole or in part, or does nothing at all.
create function tidegate.begin_gift_checkout(
  wanted_key text, wanted_digest bigint, wanted_id text, wanted_hold uuid, wanted_provider text,
  wanted_method text, wanted_amount bigint, wanted_currency text, wanted_later boolean,
  lease_ms bigint, keep_ms bigint, attempts_max bigint, wanted_gift text, gift_part bigint)
returns table(outcome text, checkout text, state text, available bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  begun record;
  card tidegate.gift_card;
  problem text;
begin
  begin
    select * into begun from tidegate.begin_checkout(
      wanted_key, wanted_digest, wanted_id, wanted_hold, wanted_provider, wanted_method, wanted_amount,
      wanted_currency, wanted_later, lease_ms, keep_ms, attempts_max);
    if begun.outcome = 'begun' then
      select * into card from tidegate.gift_card g where g.code_hash = wanted_gift for no key update;
      problem := case when card.code_hash is null then 'gift-unknown'
        when card.currency <> wanted_currency then 'gift-currency'
        when card.issued - card.reserved - card.spent < gift_part then 'gift-short' end;
      if problem is not null then
        raise exception using message = problem, errcode = 'TG001';
      end if;
      update tidegate.checkout c set gift_card = wanted_gift, gift_amount = gift_part,
          phase = case when gift_part = wanted_amount then 'ordering' else c.phase end,
          operation_amount = wanted_amount - gift_part
        where c.id = wanted_id;
      perform tidegate.move_gift(wanted_gift, 'reserve', gift_part, 0, wanted_id);
    end if;
  exception when sqlstate 'TG001' then
    return query select problem, null::text, null::text, card.issued - card.reserved - card.spent;
    return;
  end;
  return query select begun.outcome, begun.checkout, begun.state, null::bigint;
end $$;

-- As change_checkout, for a checkout with a gift card: `numbers` has the amount that goes back to it, too.
create function tidegate.change_gift_checkout(
  wanted_id text, read_version bigint, flags boolean[], numbers bigint[], path text[],
  new_reference text, new_reason text, due_ms bigint, lease_ms bigint, keep_ms bigint,
  attempt_keys text[], attempt_operations text[], attempt_amounts bigint[], attempt_outcomes text[],
  event_kinds text[], event_bodies text[], request_key text, request_digest bigint)
returns text
language plpgsql as $$
declare
  changed text;
begin
  changed := tidegate.change_checkout(wanted_id, read_version, flags, numbers, path, new_reference,
    new_reason, due_ms, lease_ms, keep_ms, attempt_keys, attempt_operations, attempt_amounts,
    attempt_outcomes, event_kinds, event_bodies, request_key, request_digest);
  if changed = 'recorded' then
    update tidegate.checkout c set gift_returned = numbers[5]
      where c.id = wanted_id and c.gift_returned <> numbers[5];
  end if;
  return changed;
end $$;

-- Carts: lines that a customer changes. A cart has one hold of its lines at a time; its stage is that of the hold and of
-- the hold's checkout. A deleted cart keeps its version, so that no version of a name comes twice.
create table tidegate.cart(
  id text collate "C" primary key,
  version bigint not null,
  customer text not null,
  lines text not null,
  is_deleted boolean not null,
  hold uuid,
  holds bigint not null default 0,
  created_at timestamptz not null,
  changed_at timestamptz not null
) with (fillfactor = 80);

-- All holds of carts, for the audit: rows are only added.
create table tidegate.cart_hold(
  hold uuid primary key,
  cart text collate "C" not null,
  version bigint not null,
  number bigint not null,
  at timestamptz not null
);
create index cart_hold_cart on tidegate.cart_hold(cart);

-- As rules::CartStage::of.
create function tidegate.cart_stage(wanted uuid)
returns table(stage text, checkout text)
language sql as $$
  select case
      when k.phase = 'cancelled' and k.captured = 0 and not k.captures_later
        and k.gift_amount < k.amount then 'open'
      when k.ordered then 'ordered'
      when k.id is not null then 'paying'
      when h.state = 'confirmed' then 'ordered'
      when h.state = 'active' and h.expires_at > clock_timestamp() then 'held'
      else 'open' end, k.id
    from (select wanted as id) w left join tidegate.hold h on h.id = w.id
    left join tidegate.checkout k on k.hold = w.id and k.phase not in ('declined', 'released')
$$;

-- Creates, replaces or deletes a cart, as rules::write_cart. `wanted`: 0 for none yet, -1 for any version.
create function tidegate.write_cart(
  wanted_id text, wanted bigint, wanted_customer text, wanted_lines text, deletes boolean)
returns table(outcome text, version bigint, checkout text)
language plpgsql as $$
#variable_conflict use_column
declare
  kept tidegate.cart;
  present record;
  now timestamptz;
begin
  if wanted = 0 and not deletes then
    insert into tidegate.cart(id, version, customer, lines, is_deleted, created_at, changed_at)
      values (wanted_id, 0, '', '[]', true, clock_timestamp(), clock_timestamp()) on conflict do nothing;
  end if;
  select * into kept from tidegate.cart c where c.id = wanted_id for no key update;
  if deletes and (kept.id is null or kept.is_deleted) then
    return query select 'done', 0::bigint, null::text;
    return;
  end if;
  if kept.id is null or (kept.is_deleted and wanted <> 0) then
    return query select 'cart-unknown', 0::bigint, null::text;
    return;
  end if;
  select * into present from tidegate.cart_stage(kept.hold);
  if not kept.is_deleted then
    if present.stage in ('paying', 'ordered') then
      return query select 'cart-' || present.stage, kept.version, present.checkout;
      return;
    end if;
    if not deletes and kept.customer = wanted_customer and kept.lines = wanted_lines then
      return query select 'done', kept.version, null::text;
      return;
    end if;
    if wanted <> -1 and wanted <> kept.version then
      return query select 'cart-changed', kept.version, null::text;
      return;
    end if;
  end if;
  if present.stage = 'held' and 'done' is distinct from (select e.outcome from tidegate.end_batch(
      array[kept.hold], array['cancelled'], array[null]::text[], array[null]::bigint[]) e) then
    -- It ended meanwhile: by its deadline, or it was sold.
    select * into present from tidegate.cart_stage(kept.hold);
    if present.stage in ('paying', 'ordered') then
      return query select 'cart-' || present.stage, kept.version, present.checkout;
      return;
    end if;
  end if;
  now := clock_timestamp();
  update tidegate.cart c set version = c.version + 1, customer = wanted_customer, lines = wanted_lines,
      is_deleted = deletes, created_at = case when c.is_deleted then now else c.created_at end, changed_at = now
    where c.id = wanted_id;
  return query select 'done', kept.version + 1, null::text;
end $$;

-- Makes a hold that of a cart, as rules::admits_cart_hold. A hold that has ended counts too: the next one has another
-- number.
create function tidegate.link_cart_hold(
  wanted_id text, wanted_version bigint, wanted_number bigint, wanted_hold uuid)
returns text
language plpgsql as $$
#variable_conflict use_column
declare
  kept tidegate.cart;
begin
  select * into kept from tidegate.cart c where c.id = wanted_id for no key update;
  if kept.id is null or kept.is_deleted or kept.version <> wanted_version then
    return 'changed';
  end if;
  if kept.hold = wanted_hold then
    return 'linked';
  end if;
  if kept.holds <> wanted_number - 1
      or 'open' is distinct from (select s.stage from tidegate.cart_stage(kept.hold) s) then
    return 'superseded';
  end if;
  insert into tidegate.cart_hold(hold, cart, version, number, at)
    values (wanted_hold, wanted_id, wanted_version, wanted_number, clock_timestamp());
  update tidegate.cart c set hold = wanted_hold, holds = wanted_number where c.id = wanted_id;
  return 'linked';
end $$;

-- Begins a checkout of a cart's hold, as rules::begin_cart.
create function tidegate.begin_cart_checkout(
  wanted_cart text, wanted bigint,
  wanted_key text, wanted_digest bigint, wanted_id text, wanted_hold uuid, wanted_provider text,
  wanted_method text, wanted_amount bigint, wanted_currency text, wanted_later boolean,
  lease_ms bigint, keep_ms bigint, attempts_max bigint, wanted_gift text, gift_part bigint)
returns table(outcome text, checkout text, state text, version bigint, available bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  kept tidegate.cart;
  present record;
begin
  select * into kept from tidegate.cart c where c.id = wanted_cart for no key update;
  if kept.id is null or kept.is_deleted then
    return query select 'cart-unknown', null::text, null::text, 0::bigint, null::bigint;
    return;
  end if;
  select * into present from tidegate.cart_stage(kept.hold);
  if kept.hold is distinct from wanted_hold
      or (present.stage in ('open', 'held') and wanted <> -1 and wanted <> kept.version) then
    return query select 'cart-changed', null::text, null::text, kept.version, null::bigint;
    return;
  end if;
  if wanted_gift is not null then
    return query select b.outcome, b.checkout, b.state, kept.version, b.available
      from tidegate.begin_gift_checkout(
        wanted_key, wanted_digest, wanted_id, wanted_hold, wanted_provider, wanted_method, wanted_amount,
        wanted_currency, wanted_later, lease_ms, keep_ms, attempts_max, wanted_gift, gift_part) b;
    return;
  end if;
  return query select b.outcome, b.checkout, b.state, kept.version, null::bigint from tidegate.begin_checkout(
    wanted_key, wanted_digest, wanted_id, wanted_hold, wanted_provider, wanted_method, wanted_amount,
    wanted_currency, wanted_later, lease_ms, keep_ms, attempts_max) b;
end $$;
