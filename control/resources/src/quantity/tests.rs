use proptest::prelude::*;

use super::{Quantity, QuantityError};

#[test]
fn amounts_are_written_in_canonical_form() {
    let table = [
        ("0", "0"),
        ("0Mi", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("1.5", "1500m"),
        ("0.5", "500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("100m", "100m"),
        ("1000m", "1"),
        ("0.1m", "100u"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("64Mi", "64Mi"),
        ("1.5Gi", "1536Mi"),
        ("1024Ki", "1Mi"),
        ("1023Ki", "1023Ki"),
        ("0.5Ki", "512"),
        ("0.1Ki", "102400m"),
        ("1e3", "1e3"),
        ("12E6", "12e6"),
        ("1500e0", "1500"),
        ("1E", "1E"),
        ("1e-3", "1e-3"),
        ("123456789", "123456789"),
        ("9223372036854775807", "9223372036854775807"),
        ("99999999999999999999", "9223372036854775807"),
        ("9Ei", "9223372036854775807"),
        ("1e400", "9223372036854775807"),
        ("1e-400", "1e-9"),
        ("1.0000000001", "1000000001n"),
    ];
    for (text, expected) in table {
        assert_eq!(Quantity::canonical(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_amount_is_told_in_kubernetes_words() {
    let table = [
        ("", QuantityError::Format),
        ("-", QuantityError::Format),
        (".", QuantityError::Format),
        ("1.2.3", QuantityError::Format),
        ("abc", QuantityError::Format),
        ("1 Mi", QuantityError::Format),
        ("1é", QuantityError::Format),
        ("64MB", QuantityError::Format),
        ("64mi", QuantityError::Suffix),
        ("1K", QuantityError::Suffix),
        ("1e", QuantityError::Suffix),
        ("1Mim", QuantityError::Suffix),
    ];
    for (text, expected) in table {
        assert_eq!(Quantity::canonical(text), Err(expected), "{text}");
    }
}

#[test]
fn amounts_are_rounded_up_to_the_unit_asked_for() {
    let table = [("100m", 100, 1), ("1", 1000, 1), ("1.5", 1500, 2), ("1u", 1, 1), ("1Ki", 1_024_000, 1024)];
    for (text, millis, units) in table {
        let quantity: Quantity = text.parse().expect("an amount");
        assert_eq!((quantity.millis(), quantity.units()), (millis, units), "{text}");
    }
}

#[test]
fn sums_keep_the_first_way_of_writing() {
    let sum = |texts: &[&str]| -> String {
        let amounts = texts.iter().map(|t| t.parse::<Quantity>().expect("an amount"));
        amounts.sum::<Quantity>().to_string()
    };
    assert_eq!(sum(&["64Mi", "64Mi"]), "128Mi");
    assert_eq!(sum(&["100m", "1"]), "1100m");
    assert_eq!(sum(&["1Gi", "1"]), "1073741825");
    assert_eq!(sum(&[]), "0");
}

proptest! {
    #[test]
    fn canonical_form_means_the_same_and_stays(
        text in "[+-]?[0-9]{1,22}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e-?[0-9]{1,2})?"
    ) {
        let quantity: Quantity = text.parse().expect("well formed");
        let canonical = quantity.to_string();
        let again: Quantity = canonical.parse().expect("canonical is well formed");
        prop_assert_eq!(quantity, again);
        prop_assert_eq!(again.to_string(), canonical);
    }

    #[test]
    fn any_text_is_an_amount_or_refused(text in ".{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn order_is_that_of_the_numbers(a in -1_000_000_i64..1_000_000, b in -1_000_000_i64..1_000_000) {
        let (left, right) = (format!("{a}m"), format!("{b}m"));
        let left: Quantity = left.parse().expect("an amount");
        let right: Quantity = right.parse().expect("an amount");
        prop_assert_eq!(left.cmp(&right), a.cmp(&b));
        prop_assert_eq!((left + right).millis(), a + b);
    }
}
