//! Numbers as Go shows them.

/// `%v` of a `float64`: whole numbers without a point, large and tiny ones with an exponent of at least two digits.
pub(crate) fn show(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let Some((digits, exponent)) = text.split_once('e') else { return text };
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{number}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_are_shown_as_go_shows_them() {
        let rows = [
            (10.0, "10"),
            (0.5, "0.5"),
            (-3.25, "-3.25"),
            (1e6, "1000000"),
            (1e21, "1e+21"),
            (1e-7, "1e-07"),
            (0.0, "0"),
        ];
        for (number, expected) in rows {
            assert_eq!(super::show(number), expected);
        }
    }
}
