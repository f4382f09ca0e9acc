use super::*;

const HEADER: &str =
    "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";

fn read(rows: &str) -> OrderBook {
    OrderBook::read(format!("{HEADER}{rows}").as_bytes()).expect("an order book")
}

#[test]
fn sales_and_returns_become_lines() {
    let book = read(
        "536365,85123A,WHITE HANGING HEART,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n\
         C536366,85123a,WHITE HANGING HEART,-2,2010-12-01 09:00:00,2.55,17850.0,United Kingdom\n",
    );
    assert_eq!(book.articles.len(), 1);
    assert_eq!(book.articles[0].price_cents, 255);
    assert_eq!(book.articles[0].stock, 12 + 18);
    let [sale, refund] = book.lines[..] else { panic!("two lines") };
    assert_eq!((sale.article, sale.quantity, sale.returned), (1, 6, false));
    assert_eq!((refund.article, refund.quantity, refund.returned), (1, 2, true));
    assert_eq!(refund.at - sale.at, 34 * 60);
}

#[test]
fn monthly_mode_price_sets_changes() {
    let book = read(
        "1,10001,A,1,2010-12-01 08:00:00,2.00,,\n\
         2,10001,A,1,2010-12-02 08:00:00,2.50,,\n\
         3,10001,A,1,2010-12-03 08:00:00,2.50,,\n\
         4,10001,A,1,2011-01-03 08:00:00,2.95,,\n\
         5,10001,A,1,2011-02-03 08:00:00,2.95,,\n",
    );
    assert_eq!(book.articles[0].price_cents, 250);
    assert_eq!(book.price_changes, [PriceChange { article: 1, price_cents: 295 }]);
}

#[test]
fn bad_rows_counted_with_line_numbers() {
    let book = read(
        "1,10001,A,1,2010-12-01 08:00:00,2.00,,\n\
         2,POST,POSTAGE,1,2010-12-01 08:00:00,18.00,,\n\
         3,10001,A,many,2010-12-01 08:00:00,2.00,,\n\
         4,10001\n\
         5,10001,A,1,yesterday,2.00,,\n\
         6,10001,A,-1,2010-12-01 08:00:00,2.00,,\n\
         7,10001,A,1,2010-12-01 08:00:00,0.0,,\n\
         8,10001,\"A, \"\"quoted\"\"\nover two lines\",1,2010-12-01 08:00:00,2.00,,\n\
         9,10001,A,1,2010-12-01 08:00:00,-3,,\n",
    );
    assert_eq!(book.lines.len(), 2);
    assert_eq!(book.skipped.total(), 7);
    assert_eq!(book.skipped.first[0], (3, "not an article (postage, fees, vouchers)"));
    assert_eq!(book.skipped.first[1], (4, "quantity is not an integer"));
    assert!(book.notes()[1].contains("line 4: quantity is not an integer"), "{:?}", book.notes());
}

#[test]
fn malformed_book_rejected() {
    let no_price =
        OrderBook::read("InvoiceNo,StockCode,Description,Quantity,InvoiceDate\n".as_bytes());
    assert!(matches!(no_price, Err(OrdersError::Column("UnitPrice"))));
    assert!(matches!(OrderBook::read(HEADER.as_bytes()), Err(OrdersError::Empty)));
    assert!(OrderBook::read(&b"\x00\xff\xfe"[..]).is_err());
}

#[test]
fn real_book_read_whole() {
    let path = Path::new("../../../shared/data/online-retail.csv.zst");
    if !path.exists() {
        println!("skipped: {} does not exist", path.display());
        return;
    }
    let book = OrderBook::open(path).expect("an order book");
    assert_eq!(book.lines.len() as u64 + book.skipped.total(), 320_705);
    assert!(book.skipped.total() < 5_000, "{:?}", book.skipped);
    assert!(book.articles.len() > 3_500);
    assert!(book.price_changes.len() > 4_000);
    assert!(book.lines.is_sorted_by_key(|line| line.at));
}
