-- A hold with one line has the line in its own row, and that row is its movement too: one row and two index entries
-- fewer for each hold. Holds of several lines, and those made before, have their lines in `movement_row`.
alter table tidegate.movement rename to movement_row;

alter table tidegate.hold
  add column sku text collate "C",
  add column location text collate "C",
  add column units bigint,
  add column key text,
  -- Ascends within a SKU like the ids of other movements. Holds of one call share it.
  add column movement_id bigint;

create view tidegate.movement as
  select id, at, kind, sku, location, on_hand, held, sold, hold, key, reason from tidegate.movement_row
  union all
  select movement_id, created_at, 'hold', sku, location, 0, units, 0, id, key, null
    from tidegate.hold where sku is not null;

-- The functions of the first version, which nodes of that version still call, insert into `movement`.
create rule movement_insert as on insert to tidegate.movement do instead
  insert into tidegate.movement_row(at, kind, sku, location, on_hand, held, sold, hold, key, reason)
  values (new.at, new.kind, new.sku, new.location, new.on_hand, new.held, new.sold, new.hold, new.key, new.reason)
  returning id, at, kind, sku, location, on_hand, held, sold, hold, key, reason;

-- Grants a batch of holds of one line each. Where all fit, no customer exceeds a limit and no key is known or in flight,
-- one statement grants them, and the only row has the outcome 'all'. Otherwise `hold_batch` decides them in turn.
-- cell_units: the units of all holds together.
create function tidegate.grant_batch(
  cell_sku text[], cell_location text[], cell_units bigint[],
  ids uuid[], customers text[], keys text[], digests bigint[], ttls_ms bigint[],
  line_cell int[], line_quantity bigint[])
returns table(outcome text, hold uuid, at_ms bigint, available bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
  granted timestamptz;
  written bigint;
  lines int[];
begin
  begin
    -- The lock of a SKU returns its newest row, and the update of stock starts from the newest row too: changes that
    -- others have committed while this statement waited are counted.
    with key as materialized (
      select bool_and(pg_try_advisory_xact_lock(hashtextextended(u.key, 7409))) as are_free
      from unnest(keys) u(key)),
    item as materialized (
      select s.sku, s.policy, s.oversell, s.customer_limit from tidegate.sku s
      where s.sku = any(cell_sku) order by s.sku for no key update),
    cell as (
      update tidegate.stock t set held = t.held + c.units
      from unnest(cell_sku, cell_location, cell_units) c(sku, location, units)
      join item s on s.sku = c.sku
      where t.sku = c.sku and t.location = c.location and (select are_free from key)
        and t.on_hand + tidegate.allowance(s.policy, s.oversell, t.on_hand) - t.held - t.sold >= c.units
      returning 1),
    limited as materialized (
      select i.sku, l.customer, i.customer_limit, sum(l.units) as units
      from unnest(customers, line_cell, line_quantity) l(customer, cell, units)
      join item i on i.sku = cell_sku[l.cell]
      where (select count(i.customer_limit) from item i) > 0 and i.customer_limit is not null
      group by i.sku, l.customer, i.customer_limit),
    taken as (
      insert into tidegate.customer_units as u(sku, customer, units)
      select l.sku, l.customer, l.units from limited l
      where l.units <= l.customer_limit and (select are_free from key)
      on conflict (sku, customer) do update set units = u.units + excluded.units
        where u.units + excluded.units <= (select i.customer_limit from item i where i.sku = u.sku)
      returning 1),
    moment as materialized (
      select clock_timestamp() as now, nextval('tidegate.movement_id_seq') as movement_id
      where (select count(*) from cell) = cardinality(cell_sku)
        and (select count(*) from taken) = (select count(*) from limited)),
    line as (
      insert into tidegate.hold(id, customer, state, created_at, expires_at,
        sku, location, units, key, movement_id)
      select u.id, u.customer, 'active', m.now, m.now + u.ttl_ms * interval '1 millisecond',
        cell_sku[u.cell], cell_location[u.cell], u.units, u.key, m.movement_id
      from moment m, unnest(ids, customers, ttls_ms, line_cell, line_quantity, keys)
        u(id, customer, ttl_ms, cell, units, key)),
    stored as (
      insert into tidegate.request(key, digest, at, hold)
      select u.key, u.digest, m.now, u.id from moment m, unnest(keys, digests, ids) u(key, digest, id))
    select (select m.now from moment m), (select count(*) from cell) + (select count(*) from taken)
      into granted, written;
    if granted is null and written > 0 then
      raise sqlstate 'TG001';
    end if;
  exception when unique_violation or sqlstate 'TG001' then
    granted := null;
  end;
  if granted is not null then
    return query select 'all', null::uuid, tidegate.ms(granted), null::bigint[];
    return;
  end if;
  lines := array(select generate_series(1, cardinality(ids)));
  return query select * from tidegate.hold_batch(cell_sku, cell_location, ids, customers, keys, digests,
    ttls_ms, lines, lines, line_cell, line_quantity);
end $$;

-- Ends a batch of holds, each once in the batch; a key may be null. Where all end as asked, their lines are in their
-- own rows and no customer gets units of a limit back, one statement ends them, and the only row has the outcome 'all'.
-- Otherwise `end_batch` decides.
create function tidegate.finish_batch(ids uuid[], ends text[], keys text[], digests bigint[])
returns table(outcome text, state text, at_ms bigint)
language plpgsql as $$
#variable_conflict use_column
declare
  ended_at timestamptz;
  ended bigint;
begin
  begin
    with key as materialized (
      select coalesce(bool_and(pg_try_advisory_xact_lock(hashtextextended(u.key, 7409))), true) as are_free
      from unnest(keys) u(key) where u.key is not null),
    item as materialized (
      select s.customer_limit from tidegate.sku s
      where s.sku = any(array(select h.sku from tidegate.hold h where h.id = any(ids)))
      order by s.sku for no key update),
    moment as materialized (
      select clock_timestamp() as now from (select count(i.customer_limit) as limits from item i) l
      where (l.limits = 0 or 'confirmed' = all(ends)) and (select are_free from key)),
    done as (
      update tidegate.hold h set state = u.ending, ended_at = m.now
      from moment m, unnest(ids, ends, keys) u(id, ending, key)
      where h.id = u.id and h.state = 'active' and h.sku is not null
        and (h.expires_at <= m.now) = (u.ending = 'expired')
      returning h.id, h.sku, h.location, h.units, h.ended_at, u.ending, u.key),
    line as (
      insert into tidegate.movement_row(at, kind, sku, location, on_hand, held, sold, hold, key)
      select d.ended_at, d.ending, d.sku, d.location, 0, -d.units,
        case d.ending when 'confirmed' then d.units else 0 end, d.id, d.key
      from done d),
    cell as (
      update tidegate.stock t set held = t.held - w.units, sold = t.sold + w.sold
      from (select d.sku, d.location, sum(d.units) as units,
          sum(case d.ending when 'confirmed' then d.units else 0 end) as sold
        from done d group by d.sku, d.location) w
      where t.sku = w.sku and t.location = w.location),
    stored as (
      insert into tidegate.request(key, digest, at, hold)
      select u.key, u.digest, m.now, u.id from moment m, unnest(keys, digests, ids) u(key, digest, id)
      where u.key is not null)
    select max(d.ended_at), count(*) into ended_at, ended from done d;
    if ended < cardinality(ids) then
      raise sqlstate 'TG001';
    end if;
  exception when unique_violation or sqlstate 'TG001' then
    ended_at := null;
  end;
  if ended_at is null then
    return query select * from tidegate.end_batch(ids, ends, keys, digests);
  else
    return query select 'all', null, tidegate.ms(ended_at);
  end if;
end $$;

-- Grants one hold of one line, as `grant_batch` does. A statement for one row takes a fraction of the time of one for
-- arrays.
create function tidegate.grant_one(
  wanted_sku text, wanted_location text, wanted_units bigint,
  wanted_id uuid, wanted_customer text, wanted_key text, wanted_digest bigint, wanted_ttl_ms bigint)
returns table(outcome text, hold uuid, at_ms bigint, available bigint[])
language plpgsql as $$
#variable_conflict use_column
declare
  item record;
  granted timestamptz;
begin
  begin
    if pg_try_advisory_xact_lock(hashtextextended(wanted_key, 7409)) then
      select s.policy, s.oversell, s.customer_limit into item from tidegate.sku s
        where s.sku = wanted_sku for no key update;
      if found then
        update tidegate.stock t set held = t.held + wanted_units
          where t.sku = wanted_sku and t.location = wanted_location
            and t.on_hand + tidegate.allowance(item.policy, item.oversell, t.on_hand)
              - t.held - t.sold >= wanted_units;
        if found and item.customer_limit is not null then
          insert into tidegate.customer_units as u(sku, customer, units)
            select wanted_sku, wanted_customer, wanted_units where wanted_units <= item.customer_limit
            on conflict (sku, customer) do update set units = u.units + excluded.units
              where u.units + excluded.units <= item.customer_limit;
          if not found then
            raise sqlstate 'TG001';
          end if;
        end if;
        if found then
          granted := clock_timestamp();
          insert into tidegate.hold(id, customer, state, created_at, expires_at,
              sku, location, units, key, movement_id)
            values (wanted_id, wanted_customer, 'active', granted,
              granted + wanted_ttl_ms * interval '1 millisecond', wanted_sku, wanted_location,
              wanted_units, wanted_key, nextval('tidegate.movement_id_seq'));
          insert into tidegate.request(key, digest, at, hold)
            values (wanted_key, wanted_digest, granted, wanted_id);
        end if;
      end if;
    end if;
  exception when unique_violation or sqlstate 'TG001' then
    granted := null;
  end;
  if granted is not null then
    return query select 'all', null::uuid, tidegate.ms(granted), null::bigint[];
  else
    return query select * from tidegate.hold_batch(
      array[wanted_sku], array[wanted_location], array[wanted_id], array[wanted_customer], array[wanted_key],
      array[wanted_digest], array[wanted_ttl_ms], '{1}', '{1}', '{1}', array[wanted_units]);
  end if;
end $$;
