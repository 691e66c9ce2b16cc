//! Amounts, as `100m`, `64Mi`, `1e3` (apimachinery `pkg/api/resource`).

use std::cmp::Ordering;
use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::str::FromStr;

use thiserror::Error;

/// The unit of the fixed-point number: a billionth.
const NANO: i128 = 1_000_000_000;
/// Quantities are capped at 2^63-1 in magnitude.
const MAX: i128 = i64::MAX as i128 * NANO;

/// How the number was written, and is written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// `1500m`, `2`, `5k`
    #[default]
    DecimalSi,
    /// `64Mi`
    BinarySi,
    /// `12e6`
    DecimalExponent,
}

/// A fixed-point number with a way to write it. Compares and adds by value alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

/// Why a text is no quantity; the words are Kubernetes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// That many thousandths, as of a core.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * 1_000_000, format: Format::DecimalSi }
    }

    /// That many units.
    pub fn from_units(units: i64) -> Self {
        Self { nanos: i128::from(units) * NANO, format: Format::DecimalSi }
    }

    /// That many bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self { nanos: i128::from(bytes) * NANO, format: Format::BinarySi }
    }

    /// The value in thousandths, rounded up.
    pub fn millis(self) -> i64 {
        saturate(div_up(self.nanos, 1_000_000))
    }

    /// The value in units (bytes of memory, pods, whole cores), rounded up.
    pub fn units(self) -> i64 {
        saturate(div_up(self.nanos, NANO))
    }

    /// Whether it is a whole number of units.
    pub fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// The difference, not below zero.
    pub fn saturating_sub(self, other: Self) -> Self {
        let nanos = (self.nanos - other.nanos).max(0);
        Self { nanos, format: self.format }
    }

    /// Rounded up to thousandths, as the API stores what containers ask for.
    pub fn rounded_to_millis(self) -> Self {
        Self { nanos: div_up(self.nanos, 1_000_000) * 1_000_000, format: self.format }
    }

    /// Rounded up to whole units, as storage is counted.
    pub fn rounded_to_units(self) -> Self {
        Self { nanos: div_up(self.nanos, NANO) * NANO, format: self.format }
    }

    /// Nothing, to be written as this is.
    pub fn zero(self) -> Self {
        Self { nanos: 0, format: self.format }
    }

    /// The text in the form in which Kubernetes stores it, or the text's fault.
    pub fn canonical(text: &str) -> Result<String, QuantityError> {
        Ok(text.parse::<Self>()?.to_string())
    }
}

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// Division that rounds away from zero, as Kubernetes rounds amounts.
fn div_up(value: i128, by: i128) -> i128 {
    let whole = value / by;
    if value % by == 0 { whole } else { whole + value.signum() }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Add for Quantity {
    type Output = Self;

    /// The sum, capped; a zero takes the other's way of writing.
    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: (self.nanos + other.nanos).clamp(-MAX, MAX), format }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: (self.nanos - other.nanos).clamp(-MAX, MAX), format }
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::ZERO, Add::add)
    }
}

impl TryFrom<&k8s_openapi::apimachinery::pkg::api::resource::Quantity> for Quantity {
    type Error = QuantityError;

    fn try_from(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Result<Self, QuantityError> {
        quantity.0.parse()
    }
}

impl From<Quantity> for k8s_openapi::apimachinery::pkg::api::resource::Quantity {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (negative, rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            Some(_) => (false, text),
            None => return Err(QuantityError::Format),
        };
        let number_len = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, suffix) = rest.split_at(number_len);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(QuantityError::Format);
        }
        let scale = Scale::parse(suffix)?;
        let magnitude = scale.apply(whole, fraction);
        let nanos = if negative { -magnitude } else { magnitude };
        Ok(Self { nanos, format: scale.format })
    }
}

/// What a suffix multiplies by: 2^(10*binary) or 10^decimal.
struct Scale {
    format: Format,
    binary: u32,
    decimal: i32,
}

impl Scale {
    fn parse(suffix: &str) -> Result<Self, QuantityError> {
        let decimal = |exponent| Ok(Self { format: Format::DecimalSi, binary: 0, decimal: exponent });
        let binary = |power| Ok(Self { format: Format::BinarySi, binary: power, decimal: 0 });
        match suffix {
            "" => decimal(0),
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(1),
            "Mi" => binary(2),
            "Gi" => binary(3),
            "Ti" => binary(4),
            "Pi" => binary(5),
            "Ei" => binary(6),
            _ => Self::exponent(suffix),
        }
    }

    fn exponent(suffix: &str) -> Result<Self, QuantityError> {
        let known = |b: u8| b.is_ascii_digit() || b"eEinumkKMGTP+-".contains(&b);
        if !suffix.bytes().all(known) {
            return Err(QuantityError::Format);
        }
        let digits = suffix.strip_prefix(['e', 'E']).ok_or(QuantityError::Suffix)?;
        let exponent: i64 = digits.parse().map_err(|_| QuantityError::Suffix)?;
        // Beyond this the number is capped or rounded anyway.
        let decimal = exponent.clamp(-1000, 1000) as i32;
        Ok(Self { format: Format::DecimalExponent, binary: 0, decimal })
    }

    /// The magnitude in billionths, rounded up and capped.
    fn apply(&self, whole: &str, fraction: &str) -> i128 {
        // 28 digits hold every amount in billionths; 19 fit an i128 beside the largest binary multiplier.
        let enough = 10_i128.pow(if self.binary > 0 { 18 } else { 27 });
        let mut digits: i128 = 0;
        let mut exponent = self.decimal + 9;
        let mut lost = false;
        for (position, digit) in whole.bytes().chain(fraction.bytes()).enumerate() {
            let in_fraction = position >= whole.len();
            if digits >= enough {
                lost |= digit != b'0';
                exponent = exponent.saturating_add(i32::from(!in_fraction));
            } else {
                digits = digits * 10 + i128::from(digit - b'0');
                exponent = exponent.saturating_sub(i32::from(in_fraction));
            }
        }
        if digits == 0 {
            return 0;
        }
        let scaled = digits << (10 * self.binary);
        let power = 10_i128.checked_pow(exponent.unsigned_abs());
        let value = if exponent >= 0 {
            power.and_then(|power| scaled.checked_mul(power)).unwrap_or(MAX)
        } else {
            power.map_or(1, |power| div_up(scaled, power))
        };
        value.saturating_add(i128::from(lost)).min(MAX)
    }
}

impl fmt::Display for Quantity {
    /// The canonical form: no fraction, and the largest suffix that loses nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos == 0 {
            return f.write_str("0");
        }
        let magnitude = self.nanos.abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        match self.format {
            // Kubernetes writes small and broken numbers in decimals whatever they were written in.
            Format::BinarySi if magnitude >= 1024 * NANO && magnitude % NANO == 0 => write_binary(f, magnitude / NANO),
            Format::DecimalExponent => {
                write_decimal(f, magnitude, |f, exponent| if exponent == 0 { Ok(()) } else { write!(f, "e{exponent}") })
            }
            Format::BinarySi | Format::DecimalSi => {
                write_decimal(f, magnitude, |f, exponent| f.write_str(decimal_suffix(exponent)))
            }
        }
    }
}

fn write_binary(f: &mut fmt::Formatter<'_>, mut units: i128) -> fmt::Result {
    let mut power = 0;
    while power < 6 && units % 1024 == 0 {
        units /= 1024;
        power += 1;
    }
    write!(f, "{units}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power])
}

fn write_decimal(
    f: &mut fmt::Formatter<'_>,
    mut nanos: i128,
    suffix: impl Fn(&mut fmt::Formatter<'_>, i32) -> fmt::Result,
) -> fmt::Result {
    let mut exponent = -9;
    while exponent < 18 && nanos % 1000 == 0 {
        nanos /= 1000;
        exponent += 3;
    }
    write!(f, "{nanos}")?;
    suffix(f, exponent)
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
