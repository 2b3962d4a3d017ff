//! Any octets as the head of an order or of a reply: refused, or whole and the same again.
#![no_main]

use fep_archive_query::sql::{SqlOrder, SqlReply, read_head, write_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| {
    if let Ok(Some(order)) = read_head::<SqlOrder<String>>(&mut &*octets) {
        let mut again = Vec::new();
        write_head(&mut again, &order).expect("memory");
        assert_eq!(read_head(&mut again.as_slice()).expect("a head"), Some(order));
    }
    if let Ok(Some(reply)) = read_head::<SqlReply>(&mut &*octets) {
        let mut again = Vec::new();
        write_head(&mut again, &reply).expect("memory");
        assert_eq!(read_head(&mut again.as_slice()).expect("a head"), Some(reply));
    }
});
