create schema if not exists tidegate;

-- The row of a SKU is the lock of everything that is counted for it. Every writer locks the rows of all SKUs
-- that it needs, in ascending order, before it reads or writes a counter.
create table tidegate.sku(
  sku text collate "C" primary key,
  policy text not null default 'strict'
    check (policy in ('strict', 'oversell-units', 'oversell-percent')),
  oversell bigint not null default 0 check (oversell >= 0),
  customer_limit bigint check (customer_limit > 0)
) with (fillfactor = 50);

create table tidegate.stock(
  sku text collate "C" not null references tidegate.sku,
  location text collate "C" not null,
  on_hand bigint not null check (on_hand >= 0),
  held bigint not null default 0 check (held >= 0),
  sold bigint not null default 0 check (sold >= 0),
  primary key (sku, location)
) with (fillfactor = 50);

create table tidegate.hold(
  id uuid primary key,
  customer text not null,
  state text not null check (state in ('active', 'confirmed', 'cancelled', 'expired')),
  extended boolean not null default false,
  created_at timestamptz not null,
  expires_at timestamptz not null,
  ended_at timestamptz
);
create index hold_due on tidegate.hold(expires_at) where state = 'active';

-- The ledger: rows are only added. The rows of kind 'hold' are the lines of a hold. Within a SKU, ids ascend
-- in the order of commits, since they are drawn under the SKU's lock.
create table tidegate.movement(
  id bigint generated always as identity,
  at timestamptz not null,
  kind text not null
    check (kind in ('set', 'policy', 'adjust', 'hold', 'confirmed', 'cancelled', 'expired')),
  sku text collate "C" not null,
  location text collate "C" not null,
  on_hand bigint not null,
  held bigint not null,
  sold bigint not null,
  hold uuid,
  key text,
  reason text
);
create index movement_hold on tidegate.movement(hold) where kind = 'hold';

-- The units that a customer holds or has bought, of SKUs with a limit.
create table tidegate.customer_units(
  sku text collate "C" not null,
  customer text collate "C" not null,
  units bigint not null check (units >= 0),
  primary key (sku, customer)
) with (fillfactor = 70);

-- Requests that had an effect, by idempotency key.
create table tidegate.request(
  key text collate "C" primary key,
  digest bigint not null,
  at timestamptz not null,
  hold uuid,
  detail bigint[]
);
create index request_at on tidegate.request using brin(at);

-- Stable, as `extract` is, so that the server inlines it.
create function tidegate.ms(t timestamptz) returns bigint stable strict parallel safe
language sql return floor(extract(epoch from t) * 1000)::bigint;

create function tidegate.allowance(policy text, oversell bigint, on_hand bigint) returns bigint
immutable strict parallel safe
language sql return case policy when 'oversell-units' then oversell
  when 'oversell-percent' then on_hand * oversell / 100 else 0 end;

-- Grants a batch of holds. cell_*: each pair of SKU and location once. Lines of one hold are neighbours; their
-- cells and holds are numbers from 1. Of two calls with one key, the second is told that the key is in flight.
create function tidegate.hold_batch(
  cell_sku text[], cell_location text[],
  ids uuid[], customers text[], keys text[], digests bigint[], ttls_ms bigint[], first_line int[],
  line_hold int[], line_cell int[], line_quantity bigint[])
returns table(outcome text, hold uuid, at_ms bigint, available bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
  count constant int := cardinality(ids);
  now timestamptz;
  key_free boolean[];
  known_digest bigint[];
  known_hold uuid[];
  known_at bigint[];
  cell_free bigint[];
  cell_limit bigint[];
  outcomes text[] := array_fill('held'::text, array[count]);
  shown text[] := array_fill(null::text, array[count]);
  is_simple boolean;
  has_limit boolean;
  line_group int[];
  taken bigint[];
  first int;
  last int;
  verdict text;
begin
  select array_agg(pg_try_advisory_xact_lock(hashtextextended(u.key, 7409)) order by u.n)
    into key_free from unnest(keys) with ordinality u(key, n);
  perform 1 from tidegate.sku s where s.sku = any(cell_sku) order by s.sku for no key update;
  now := clock_timestamp();
  select array_agg(r.digest order by u.n), array_agg(r.hold order by u.n),
      array_agg(tidegate.ms(r.at) order by u.n)
    into known_digest, known_hold, known_at
    from unnest(keys) with ordinality u(key, n) left join tidegate.request r on r.key = u.key;
  select array_agg(t.on_hand + tidegate.allowance(s.policy, s.oversell, t.on_hand) - t.held - t.sold
      order by c.n), array_agg(s.customer_limit order by c.n), count(s.customer_limit) > 0
    into cell_free, cell_limit, has_limit
    from unnest(cell_sku, cell_location) with ordinality c(sku, location, n)
    left join tidegate.sku s on s.sku = c.sku
    left join tidegate.stock t on t.sku = c.sku and t.location = c.location;
  is_simple := not has_limit and true = all(key_free)
    and not exists (select from unnest(known_digest) d where d is not null)
    and (select bool_and(coalesce(cell_free[w.cell] >= w.units, false))
      from (select l.cell, sum(l.quantity) units from unnest(line_cell, line_quantity) l(cell, quantity)
        group by l.cell) w);
  if not is_simple then
    if has_limit then
      -- One group of lines for each pair of SKU and customer: their units count together.
      select array_agg(g.grp order by g.n) into line_group
        from (select l.n, dense_rank() over (order by cell_sku[l.cell], customers[l.hold])::int grp
          from unnest(line_hold, line_cell) with ordinality l(hold, cell, n)) g;
      select array_agg(coalesce(u.units, 0) order by g.grp) into taken
        from (select distinct l.grp, cell_sku[l.cell] sku, customers[l.hold] customer
          from unnest(line_hold, line_cell, line_group) l(hold, cell, grp)) g
        left join tidegate.customer_units u on u.sku = g.sku and u.customer = g.customer;
    end if;
    for n in 1..count loop
      first := first_line[n];
      last := case when n = count then cardinality(line_cell) else first_line[n + 1] - 1 end;
      if not key_free[n] then
        outcomes[n] := 'in-flight';
        continue;
      elsif known_digest[n] is not null then
        outcomes[n] := case when known_digest[n] = digests[n] then 'repeated' else 'reused' end;
        continue;
      end if;
      verdict := 'held';
      for line in first..last loop
        if cell_free[line_cell[line]] is null then
          verdict := 'unknown';
        elsif cell_free[line_cell[line]] < line_quantity[line] and verdict = 'held' then
          verdict := 'sold-out';
        end if;
      end loop;
      if verdict = 'held' and has_limit then
        for line in first..last loop
          taken[line_group[line]] := taken[line_group[line]] + line_quantity[line];
        end loop;
        for line in first..last loop
          if taken[line_group[line]] > cell_limit[line_cell[line]] then
            verdict := 'customer-limit';
          end if;
        end loop;
        if verdict <> 'held' then
          for line in first..last loop
            taken[line_group[line]] := taken[line_group[line]] - line_quantity[line];
          end loop;
        end if;
      end if;
      if verdict = 'held' then
        for line in first..last loop
          cell_free[line_cell[line]] := cell_free[line_cell[line]] - line_quantity[line];
        end loop;
      else
        outcomes[n] := verdict;
        shown[n] := (select array_agg(case verdict when 'customer-limit'
              then cell_limit[l.cell] - taken[l.grp] else cell_free[l.cell] end order by l.n)
          from unnest(line_cell[first:last], line_group[first:last]) with ordinality l(cell, grp, n))::text;
      end if;
    end loop;
  end if;

  insert into tidegate.hold(id, customer, state, created_at, expires_at)
    select u.id, u.customer, 'active', now, now + u.ttl_ms * interval '1 millisecond'
    from unnest(ids, customers, ttls_ms, outcomes) u(id, customer, ttl_ms, outcome)
    where u.outcome = 'held';
  if found then
    insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, hold, key)
      select now, 'hold', cell_sku[l.cell], cell_location[l.cell], 0, l.quantity, 0,
        ids[l.hold], keys[l.hold]
      from unnest(line_hold, line_cell, line_quantity) l(hold, cell, quantity)
      where outcomes[l.hold] = 'held';
    update tidegate.stock t set held = t.held + w.units
      from (select l.cell, sum(l.quantity) units
        from unnest(line_hold, line_cell, line_quantity) l(hold, cell, quantity)
        where outcomes[l.hold] = 'held' group by l.cell) w
      where t.sku = cell_sku[w.cell] and t.location = cell_location[w.cell];
    if has_limit then
      insert into tidegate.customer_units as u(sku, customer, units)
        select cell_sku[l.cell], customers[l.hold], sum(l.quantity)
        from unnest(line_hold, line_cell, line_quantity) l(hold, cell, quantity)
        where outcomes[l.hold] = 'held' and cell_limit[l.cell] is not null
        group by 1, 2
        on conflict (sku, customer) do update set units = u.units + excluded.units;
    end if;
    insert into tidegate.request(key, digest, at, hold)
      select u.key, u.digest, now, u.id
      from unnest(keys, digests, ids, outcomes) u(key, digest, id, outcome)
      where u.outcome = 'held';
  end if;
  return query
    select u.outcome, case when u.outcome = 'repeated' then u.known_hold else u.id end,
      case when u.outcome = 'repeated' then u.known_at else tidegate.ms(now) end,
      u.shown::bigint[]
    from unnest(outcomes, ids, known_hold, known_at, shown)
      u(outcome, id, known_hold, known_at, shown);
end $$;

-- Ends a batch of holds, each once in the batch; a key may be null.
create function tidegate.end_batch(
  ids uuid[], ends text[], keys text[], digests bigint[])
returns table(outcome text, state text, at_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  key_free boolean[];
  known_digest bigint[];
  known_at bigint[];
  ended uuid[];
  states text[];
begin
  select array_agg(coalesce(pg_try_advisory_xact_lock(hashtextextended(u.key, 7409)), true) order by u.n)
    into key_free from unnest(keys) with ordinality u(key, n);
  perform 1 from tidegate.sku s
    where s.sku = any(array(select m.sku from tidegate.movement m
      where m.hold = any(ids) and m.kind = 'hold'))
    order by s.sku for no key update;
  now := clock_timestamp();
  select array_agg(r.digest order by u.n), array_agg(tidegate.ms(r.at) order by u.n)
    into known_digest, known_at
    from unnest(keys) with ordinality u(key, n) left join tidegate.request r on r.key = u.key;
  with done as (
    update tidegate.hold h set state = u.ending, ended_at = now
      from unnest(ids, ends, key_free, known_digest) u(id, ending, key_free, known_digest)
      where h.id = u.id and h.state = 'active' and (h.expires_at <= now) = (u.ending = 'expired')
        and u.key_free and u.known_digest is null
      returning h.id)
  select coalesce(array_agg(done.id), '{}') into ended from done;
  if cardinality(ended) > 0 then
    with line as (
      insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, hold, key)
        select now, u.ending, m.sku, m.location, 0, -m.held,
          case u.ending when 'confirmed' then m.held else 0 end, m.hold, u.key
        from unnest(ids, ends, keys) u(id, ending, key)
        join tidegate.movement m on m.hold = u.id and m.kind = 'hold'
        where u.id = any(ended)
        returning sku, location, held, sold)
    update tidegate.stock t set held = t.held + w.held, sold = t.sold + w.sold
      from (select l.sku, l.location, sum(l.held) held, sum(l.sold) sold from line l group by 1, 2) w
      where t.sku = w.sku and t.location = w.location;
    update tidegate.customer_units c set units = c.units - w.units
      from (select m.sku, h.customer, sum(m.held) units
        from unnest(ids, ends) u(id, ending)
        join tidegate.hold h on h.id = u.id
        join tidegate.movement m on m.hold = u.id and m.kind = 'hold'
        join tidegate.sku s on s.sku = m.sku and s.customer_limit is not null
        where u.id = any(ended) and u.ending <> 'confirmed' group by 1, 2) w
      where c.sku = w.sku and c.customer = w.customer;
    insert into tidegate.request(key, digest, at, hold)
      select u.key, u.digest, now, u.id from unnest(ids, keys, digests) u(id, key, digest)
      where u.id = any(ended) and u.key is not null;
  end if;
  select array_agg(case when h.state = 'active' and h.expires_at <= now then 'expired' else h.state end
      order by u.n)
    into states
    from unnest(ids) with ordinality u(id, n) left join tidegate.hold h on h.id = u.id;
  return query
    select case
        when not u.key_free then 'in-flight'
        when u.known_digest = u.digest then 'repeated'
        when u.known_digest is not null then 'reused'
        when u.id = any(ended) then 'done'
        when u.state is null then 'unknown'
        when u.state = 'active' then 'not-due'
        else 'ended' end,
      u.state, coalesce(u.known_at, tidegate.ms(now))
    from unnest(ids, key_free, known_digest, digests, known_at, states)
      u(id, key_free, known_digest, digest, known_at, state);
end $$;

-- Moves the deadline of a hold, once.
create function tidegate.extend_hold(wanted uuid, by_ms bigint, wanted_key text, wanted_digest bigint)
returns table(outcome text, state text, at_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  known tidegate.request;
  held tidegate.hold;
begin
  if not pg_try_advisory_xact_lock(hashtextextended(wanted_key, 7409)) then
    return query select 'in-flight', null::text, 0::bigint;
    return;
  end if;
  select * into held from tidegate.hold h where h.id = wanted for no key update;
  now := clock_timestamp();
  select * into known from tidegate.request r where r.key = wanted_key;
  if known.key is not null then
    return query select case when known.digest = wanted_digest then 'repeated' else 'reused' end,
      held.state, known.detail[1];
  elsif held.id is null then
    return query select 'unknown', null::text, 0::bigint;
  elsif held.state <> 'active' then
    return query select 'ended', held.state, 0::bigint;
  elsif held.expires_at <= now then
    return query select 'ended', 'expired', 0::bigint;
  elsif held.extended then
    return query select 'extended-before', held.state, 0::bigint;
  else
    held.expires_at := held.expires_at + by_ms * interval '1 millisecond';
    update tidegate.hold h set expires_at = held.expires_at, extended = true where h.id = wanted;
    insert into tidegate.request(key, digest, at, hold, detail)
      values (wanted_key, wanted_digest, now, wanted, array[tidegate.ms(held.expires_at)]);
    return query select 'done', held.state, tidegate.ms(held.expires_at);
  end if;
end $$;

-- Sets a cell's units on hand, and its SKU's policy and limit where they are not null. customer_limit 0: none.
create function tidegate.set_stock(
  wanted_sku text, wanted_location text, wanted_on_hand bigint,
  wanted_policy text, wanted_oversell bigint, wanted_limit bigint)
returns table(outcome text, free bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  item tidegate.sku;
  policy_before tidegate.sku;
  short tidegate.stock;
  before tidegate.stock;
begin
  insert into tidegate.sku(sku) values (wanted_sku) on conflict do nothing;
  select * into item from tidegate.sku s where s.sku = wanted_sku for no key update;
  now := clock_timestamp();
  select * into before from tidegate.stock t where t.sku = wanted_sku and t.location = wanted_location;
  before.on_hand := coalesce(before.on_hand, 0);
  policy_before := item;
  if wanted_policy is not null then
    item.policy := wanted_policy;
    item.oversell := wanted_oversell;
  end if;
  select * into short from (
      select t.sku, t.location,
        case t.location when wanted_location then wanted_on_hand else t.on_hand end, t.held, t.sold
      from tidegate.stock t where t.sku = wanted_sku) t(sku, location, on_hand, held, sold)
    where t.on_hand + tidegate.allowance(item.policy, item.oversell, t.on_hand) < t.held + t.sold
    order by t.location limit 1;
  if found then
    return query select 'committed',
      greatest(before.on_hand - coalesce(before.held + before.sold, 0), 0);
    return;
  end if;
  insert into tidegate.stock as t(sku, location, on_hand)
    values (wanted_sku, wanted_location, wanted_on_hand)
    on conflict (sku, location) do update set on_hand = excluded.on_hand;
  if wanted_on_hand <> before.on_hand then
    insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold)
      values (now, 'set', wanted_sku, wanted_location, wanted_on_hand - before.on_hand, 0, 0);
  end if;
  if wanted_limit is not null then
    item.customer_limit := nullif(wanted_limit, 0);
  end if;
  if item.customer_limit is not null and policy_before.customer_limit is null then
    -- Units were not counted while there was no limit.
    delete from tidegate.customer_units u where u.sku = wanted_sku;
    insert into tidegate.customer_units(sku, customer, units)
      select m.sku, h.customer, sum(m.held)
      from tidegate.movement m join tidegate.hold h on h.id = m.hold
      where m.sku = wanted_sku and m.kind = 'hold' and h.state in ('active', 'confirmed')
      group by m.sku, h.customer;
  end if;
  if item is distinct from policy_before then
    insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, reason)
      values (now, 'policy', wanted_sku, wanted_location, 0, 0, 0, concat_ws(' ', item.policy,
        nullif(item.oversell, 0), 'limit ' || item.customer_limit));
  end if;
  update tidegate.sku s set policy = item.policy, oversell = item.oversell,
      customer_limit = item.customer_limit
    where s.sku = wanted_sku;
  return query select 'done', 0::bigint;
end $$;

-- Changes a cell's units on hand.
create function tidegate.adjust_stock(
  wanted_sku text, wanted_location text, by_units bigint, wanted_reason text,
  wanted_key text, wanted_digest bigint)
returns table(outcome text, free bigint, detail bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
  now timestamptz;
  item tidegate.sku;
  known tidegate.request;
  after tidegate.stock;
  result bigint[];
begin
  if not pg_try_advisory_xact_lock(hashtextextended(wanted_key, 7409)) then
    return query select 'in-flight', 0::bigint, null::bigint[];
    return;
  end if;
  select * into item from tidegate.sku s where s.sku = wanted_sku for no key update;
  now := clock_timestamp();
  select * into known from tidegate.request r where r.key = wanted_key;
  if known.key is not null then
    return query select case when known.digest = wanted_digest then 'repeated' else 'reused' end,
      0::bigint, known.detail;
    return;
  end if;
  select * into after from tidegate.stock t where t.sku = wanted_sku and t.location = wanted_location;
  if after.sku is null then
    return query select 'unknown', 0::bigint, null::bigint[];
    return;
  end if;
  if after.on_hand + by_units < 0 or after.on_hand + by_units
      + tidegate.allowance(item.policy, item.oversell, after.on_hand + by_units) < after.held + after.sold
  then
    return query select 'committed',
      greatest(after.on_hand - after.held - after.sold, 0), null::bigint[];
    return;
  end if;
  update tidegate.stock t set on_hand = t.on_hand + by_units
    where t.sku = wanted_sku and t.location = wanted_location;
  insert into tidegate.movement(at, kind, sku, location, on_hand, held, sold, key, reason)
    values (now, 'adjust', wanted_sku, wanted_location, by_units, 0, 0, wanted_key, wanted_reason);
  result := array[after.on_hand + by_units, after.held, after.sold];
  insert into tidegate.request(key, digest, at, detail)
    values (wanted_key, wanted_digest, now, result);
  return query select 'done', 0::bigint, result;
end $$;
