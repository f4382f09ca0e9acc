-- A join with `movement` reads all holds, since it is a view over two tables; a condition on its own column uses their
-- indexes. Each end of a hold that came here (of several lines, or by a checkout) read every hold of the ledger under the lock
-- of its SKU.
create or replace function tidegate.end_batch(
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
        join tidegate.movement m on m.hold = u.id and m.kind = 'hold' and m.hold = any(ids)
        where u.id = any(ended)
        returning sku, location, held, sold)
    update tidegate.stock t set held = t.held + w.held, sold = t.sold + w.sold
      from (select l.sku, l.location, sum(l.held) held, sum(l.sold) sold from line l group by 1, 2) w
      where t.sku = w.sku and t.location = w.location;
    update tidegate.customer_units c set units = c.units - w.units
      from (select m.sku, h.customer, sum(m.held) units
        from unnest(ids, ends) u(id, ending)
        join tidegate.hold h on h.id = u.id
        join tidegate.movement m on m.hold = u.id and m.kind = 'hold' and m.hold = any(ids)
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
