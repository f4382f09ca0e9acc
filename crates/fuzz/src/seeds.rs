//! The first inputs of each target: of the real form, and those that broke this or another server.

fn all(inputs: &[&[u8]]) -> Vec<Vec<u8>> {
    inputs.iter().map(|input| input.to_vec()).collect()
}

pub(crate) fn http_heads() -> Vec<Vec<u8>> {
    all(&[
        b"/p/42?b=2&a=1\ncache-control: public, max-age=60, stale-while-revalidate=30\nage: 3\n\
          surrogate-key: product-42 shop\nvary: accept-encoding\netag: \"1\"",
        b"/%2e%2e/..%2faccount/./x//y\ncdn-cache-control: max-age=60;x=\"y\", private=\"set-cookie\"\n\
          cache-control: no-store",
        b"*\nforwarded: for=\"[2001:db8::1]:80\";proto=https;host=shop, for=_hidden\n\
          x-forwarded-for: 10.0.0.1, unknown, ::ffff:1.2.3.4\nx-forwarded-proto: https\nx-forwarded-host: shop:443",
        b"shop.example:443\nexpires: Thu, 01 Dec 1994 16:00:00 GMT\ndate: Thu, 01 Dec 1994 15:00:00 GMT",
        b"/\ncookie: a=1\ncookie: b=2\naccept-encoding: gzip;q=0.5, br;q=0, *;q=1.000\nset-cookie: a=1",
        b"/\ncache-control: max-age=99999999999999999999, s-maxage=\"60\"\nage: 0, 0\nage: -1",
        // A backslash at the end of a quoted string (RFC 9110, section 5.6.4).
        b"/\nforwarded: for=\"\\\ncdn-cache-control: \"\\\ncache-control: private=\"\\",
        b"/%\n", b"/%2\n", b"//[::1\n", b"[::1]:\n", b"[\n", b":\n", b"a:99999\n",
    ])
}

pub(crate) fn proxy_headers() -> Vec<Vec<u8>> {
    let second = |rest: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", rest].concat();
    let mut seeds = all(&[
        b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 443\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\nGET / HTTP/1.1\r\n",
        b"PROXY UNKNOWN\r\n",
        b"PROXY TCP4 \r\n",
        b"PROXY TCP4 255.255.255.256 1.1.1.1 99999 0\r\n",
    ]);
    seeds.push(second(b"\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x01\xbb"));
    // Fields of TLS after the addresses, and the request in the same packet (apache/trafficserver#12141).
    seeds.push(second(
        b"\x21\x11\x00\x14\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x01\xbb\x20\x00\x05\x01\0\0\0\0GET / HTTP/1.1\r\n",
    ));
    seeds.push(second(b"\x20\x00\x00\x00"));
    // Lengths beyond the content: of the header, and of a field after the addresses.
    seeds.push(second(b"\x21\x21\xff\xff"));
    seeds.push(second(
        b"\x21\x11\x00\x11\xc0\x00\x02\x01\xc0\x00\x02\x02\x13\x88\x01\xbb\x20\xff\xff\x01\x00",
    ));
    seeds
}

pub(crate) fn stored_pages() -> Vec<Vec<u8>> {
    all(&[b"", b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", b"200 0 60\ncontent-type: text/html\n\n"])
}

pub(crate) fn redis_entries() -> Vec<Vec<u8>> {
    all(&[
        b"tg3 1.2.3.4 90 0 p 1800000000000 12 60000 80 ff 2 5 product-42 shop\n{}hello",
        b"tg4 1.2.3.4 90 0 a 1800000000000 12 60000 80 0 0 0\n",
        b"tg5 1.2.3.4 90 0 P 1800000060000000 1800000000000 12 60000 80 ff 0 5 product-42\nhello",
        b"tg3 1.2.3.4 90 0 u 0 0 1 0 0 0 0\n",
        b"tg3 1 0 0 p 0 0 0 0 0 18446744073709551615 1\n",
    ])
}

pub(crate) fn redis_replies() -> Vec<Vec<u8>> {
    let nested = b"*1\r\n".repeat(2_000);
    all(&[
        // Lengths that other parsers reserved memory for (redis/hiredis#1357, ephpm/ephpm#71, dragonflydb/dragonfly#8183,
        // NodeRedis/node-redis-parser#47), and nesting (redis/hiredis#1336).
        b"*5500000000000000000\r\n",
        b"*4294967295\r\n:1\r\n",
        b"%4294967295\r\n+a\r\n",
        b"*1\r\n*2000000000\r\n",
        b"*99999999999999999999999999\r\n",
        &nested,
        b"*4\r\n:0\r\n$5\r\nfound\r\n$2\r\n90\r\n$-1\r\n",
        b"*2\r\n:1\r\n+miss\r\n",
        b"%1\r\n+a\r\n:1\r\n",
        b"-OOM command not allowed\r\n",
        b"*-1\r\n",
        b"*2147483647\r\n",
        b"$9223372036854775807\r\n",
    ])
}

pub(crate) fn node_messages() -> Vec<Vec<u8>> {
    all(&[
        br#"{"epoch":"1.2.3.4","prev":1,"upto":9,"watermark":8,"coverage":7,"events":[{"lsn":9,"cause":"change","subjects":["key:v1:shop:price:1","tag:product-42"]}]}"#,
        br#"["tag:product-42","all"]"#,
        br#"{"epoch":"1.2.3.4","prev":18446744073709551615,"upto":0,"watermark":0,"coverage":0,"events":[]}"#,
    ])
}

/// Joins messages of pgoutput, each after a byte with its length.
fn framed(messages: &[&[u8]]) -> Vec<u8> {
    let frame =
        |message: &&[u8]| [&[u8::try_from(message.len()).unwrap_or(255)], *message].concat();
    messages.iter().flat_map(frame).collect()
}

pub(crate) fn pgoutput() -> Vec<Vec<u8>> {
    let relation: &[u8] = b"R\0\0\0\x07public\0products\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0name\0\0\0\0\x19\xff\xff\xff\xff";
    vec![
        // Frames that ended another reader (Trendyol/go-pq-cdc#152): an empty one, a tuple with a length beyond its end, a
        // relation that ends within its columns, an update with fewer old columns than new ones.
        framed(&[b"", relation, b"I\0\0\0\x07N\0\x02t\xff\xff\xff\xff42"]),
        framed(&[&relation[..relation.len() - 9], b"B\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0"]),
        framed(&[relation, b"U\0\0\0\x07K\0\x01t\0\0\0\x0242N\0\x02t\0\0\0\x0243u"]),
        framed(&[relation, b"I\0\0\0\x07N\0\x02t\0\0\0\x0242t\0\0\0\x03Tea"]),
        framed(&[relation, b"U\0\0\0\x07K\0\x02t\0\0\0\x0242nN\0\x02t\0\0\0\x0243u"]),
        framed(&[relation, b"D\0\0\0\x07K\0\x02t\0\0\0\x0242n", b"T\0\0\0\x01\0\0\0\0\x07"]),
        framed(&[b"I\0\0\0\x01N\0\x01t\0\0\0\x01x", b"T\xff\xff\xff\xff\0"]),
        framed(&[
            b"w\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03B",
            b"k\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\x01",
        ]),
        framed(&[br#"{"subjects":["tag:product-42"]}"#]),
    ]
}

pub(crate) fn purge_requests() -> Vec<Vec<u8>> {
    all(&[
        br#"{"id":"1","subjects":["tag:product-42","key:v1:shop:price:1"]}"#,
        br#"{"id":"2","subjects":["all"],"cause":"hard"}"#,
        br#"{"subjects":"#,
    ])
}

/// Joins events of the binary log, each after its kind and its length.
fn events(events: &[(u8, &[u8])]) -> Vec<u8> {
    let event = |(kind, data): &(u8, &[u8])| {
        [&[*kind, u8::try_from(data.len()).unwrap_or(255)], *data].concat()
    };
    events.iter().flat_map(event).collect()
}

pub(crate) fn binlog() -> Vec<Vec<u8>> {
    const BEGIN: (u8, &[u8]) = (162, &[0; 13]);
    // products(id int, name varchar(100), price decimal(5,2)) with number 7.
    const TABLE: (u8, &[u8]) = (
        19,
        b"\x07\0\0\0\0\0\x01\0\x04shop\0\x08products\0\x03\x03\x0f\xf6\x04\x64\0\x05\x02\x06\x01\x01\0\x04\x0e\x02id\x04name\x05price",
    );
    const UPDATE: (u8, &[u8]) = (
        24,
        b"\x07\0\0\0\0\0\x01\0\x03\x07\x07\0\x2a\0\0\0\x03Tea\x7f\xf3\xcd\x02\x2a\0\0\0\x80\x03\0",
    );
    vec![
        events(&[BEGIN, TABLE, UPDATE, (16, b"\x01\0\0\0\0\0\0\0")]),
        events(&[
            BEGIN,
            (2, b"\x01\0\0\0\0\0\0\0\x04\0\0\0\0shop\0alter table products add x int"),
        ]),
        events(&[(4, b"\x04\0\0\0\0\0\0\0binlog.000002"), (27, b"binlog.000002"), (38, b"\0")]),
        // Rows that another reader read past the end of (go-mysql-org/go-mysql#764).
        events(&[
            BEGIN,
            TABLE,
            (23, b"\x07\0\0\0\0\0\x01\0\x02\xff\xfc\x01\0\0\0\0B\x14U\x16\x8ew"),
        ]),
        // A length-encoded number of columns that is larger than the event.
        events(&[
            BEGIN,
            (19, b"\x07\0\0\0\0\0\x01\0\x04shop\0\x01t\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff"),
        ]),
    ]
}

pub(crate) fn debezium() -> Vec<Vec<u8>> {
    all(&[
        br#"{"op":"u","before":{"id":1},"after":{"id":1,"price":"1.50"},"source":{"db":"shop","schema":"public","table":"products","txId":7,"lsn":90,"ts_ms":1800000000000},"transaction":{"id":"7:90","total_order":1,"data_collection_order":1},"ts_ms":1800000000000}"#,
        br#"[{"status":"BEGIN","id":"7:90","ts_ms":1},{"status":"END","id":"7:90","event_count":1,"data_collections":[{"data_collection":"public.products","event_count":1}],"ts_ms":1}]"#,
        br#"{"schema":{"type":"struct","fields":[]},"payload":{"op":"m","message":{"prefix":"tidegate","content":"eyJ9"},"source":{"db":"shop","lsn":90}}}"#,
        b"null",
        b" ",
        // Numbers beyond 64 bits, and nesting.
        br#"{"op":"c","after":{"id":1e400},"source":{"db":"shop","lsn":99999999999999999999999}}"#,
        &[b'['; 200],
    ])
}

pub(crate) fn debezium_mariadb() -> Vec<Vec<u8>> {
    all(&[
        br#"{"op":"u","before":{"id":1},"after":{"id":1,"price":"AJY="},"source":{"connector":"mariadb","db":"shop","table":"products","gtid":"0-1-7","file":"binlog.000003","pos":484,"row":0,"snapshot":"false","ts_ms":1800000000000},"transaction":{"id":"0-1-7","total_order":1,"data_collection_order":1},"ts_ms":1800000000000}"#,
        br#"[{"status":"BEGIN","id":"3e11fa47-71ca-11e1-9e33-c80aa9429562:t:7","ts_ms":1},{"status":"END","id":"0-1-7","event_count":1,"data_collections":[],"ts_ms":1}]"#,
        br#"{"schema":{},"payload":{"source":{"connector":"mysql","snapshot":"false","gtid":"0-1-7","file":"binlog.000003","pos":570},"databaseName":"shop","ddl":"TRUNCATE TABLE products"}}"#,
        b"null",
        br#"{"op":"t","source":{"connector":"mariadb","db":"shop","table":"products","gtid":"0-1-7","file":"binlog.000003","pos":99999999999999999999999}}"#,
    ])
}

pub(crate) fn contracts() -> Vec<Vec<u8>> {
    all(&[
        b"[product_price]\nkey = \"v1:shop:price:{id}\"\nsql = \"select cents from products where id = $id\"\nbudget = \"2s\"\nttl = \"60s\"\ntags = [\"product-{id}\"]\n",
        b"[x]\nkey = \"v1:a:{id}\"\nurl = \"http://127.0.0.1:1/{id}\"\nlag = \"1s\"\nsliding = true\nmax_lifetime = \"1d\"\n",
        b"[x]\nttl = \"18446744073709551616s\"\nbudget = -1\n[x.tiers]\nlocal = \"maybe\"\n",
    ])
}

pub(crate) fn webhooks() -> Vec<Vec<u8>> {
    all(&[
        b"t=1800000000,v1=00ff\n{\"id\":\"evt_1\"}",
        b"t=,v1=\n",
        b"t=1800000000,v1=0,v1=\xc3\xa9\xc3\xa9\n{}",
        b"v1=+f+f,t=-1",
    ])
}

pub(crate) fn certificates() -> Vec<Vec<u8>> {
    all(&[
        b"\x30\x03\x30\x01\x00",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x30\x80\x00\x00",
        b"\x30\x1f\x30\x1d\x02\x01\x01\x30\x00\x30\x00\x17\x0d700101000000Z",
    ])
}
