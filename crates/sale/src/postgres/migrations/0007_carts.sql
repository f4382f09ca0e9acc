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
      when k.phase = 'cancelled' and k.captured = 0 and not k.captures_later then 'open'
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
  lease_ms bigint, keep_ms bigint, attempts_max bigint)
returns table(outcome text, checkout text, state text, version bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  kept tidegate.cart;
  present record;
begin
  select * into kept from tidegate.cart c where c.id = wanted_cart for no key update;
  if kept.id is null or kept.is_deleted then
    return query select 'cart-unknown', null::text, null::text, 0::bigint;
    return;
  end if;
  select * into present from tidegate.cart_stage(kept.hold);
  if kept.hold is distinct from wanted_hold
      or (present.stage in ('open', 'held') and wanted <> -1 and wanted <> kept.version) then
    return query select 'cart-changed', null::text, null::text, kept.version;
    return;
  end if;
  return query select b.outcome, b.checkout, b.state, kept.version from tidegate.begin_checkout(
    wanted_key, wanted_digest, wanted_id, wanted_hold, wanted_provider, wanted_method, wanted_amount,
    wanted_currency, wanted_later, lease_ms, keep_ms, attempts_max) b;
end $$;
