//! Certificates of users in several groups. The builder of certificates holds one attribute of a kind, so that the name is put
//! in its place afterwards, and signed anew (DER, X.690; the form of a certificate, RFC 5280).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, SigningKey as _};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::PkiError;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const UTF8: u8 = 0x0c;
const BITS: u8 = 0x03;
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x0a];

/// The certificate with that subject instead of its own, signed with `key`, which must be the one that signed it before. PEM.
pub(super) fn renamed(
    certificate: &[u8],
    common_name: &str,
    organizations: &[String],
    key: &KeyPair,
) -> Result<String, PkiError> {
    let malformed = || PkiError::Request("a new certificate cannot be read".to_owned());
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| malformed())?;
    let tbs: &[u8] = parsed.tbs_certificate.as_ref();
    let subject = parsed.subject().as_raw();
    let content = &tbs[header(tbs).ok_or_else(malformed)?.0..];
    // Both are parts of the same bytes.
    let start = (subject.as_ptr() as usize).checked_sub(content.as_ptr() as usize).ok_or_else(malformed)?;
    let before = content.get(..start).ok_or_else(malformed)?;
    let after = content.get(start + subject.len()..).ok_or_else(malformed)?;
    let tbs_new = item(SEQUENCE, &[before, &name(common_name, organizations), after].concat());
    // What follows the signed part says how it is signed, which stays.
    let outer = header(certificate).ok_or_else(malformed)?.0;
    let algorithm = certificate.get(outer + tbs.len()..).ok_or_else(malformed)?;
    let (head, length) = header(algorithm).ok_or_else(malformed)?;
    let algorithm = algorithm.get(..head + length).ok_or_else(malformed)?;
    let signature = item(BITS, &[&[0], key.sign(&tbs_new)?.as_slice()].concat());
    Ok(pem(&item(SEQUENCE, &[tbs_new.as_slice(), algorithm, signature.as_slice()].concat())))
}

fn name(common_name: &str, organizations: &[String]) -> Vec<u8> {
    let attribute =
        |kind: &[u8], text: &str| item(SET, &item(SEQUENCE, &[kind, item(UTF8, text.as_bytes()).as_slice()].concat()));
    let groups = organizations.iter().map(|group| attribute(ORGANIZATION, group));
    let parts: Vec<Vec<u8>> = groups.chain([attribute(COMMON_NAME, common_name)]).collect();
    item(SEQUENCE, &parts.concat())
}

/// One item of DER: its tag, its length, its content.
fn item(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut bytes = vec![tag];
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let long: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            // A length has at most eight bytes.
            bytes.push(0x80 | long.len() as u8);
            bytes.extend(long);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// How long the head of an item is, and its content.
fn header(bytes: &[u8]) -> Option<(usize, usize)> {
    let first = *bytes.get(1)?;
    if first < 0x80 {
        return Some((2, usize::from(first)));
    }
    let count = usize::from(first & 0x7f);
    let length = bytes
        .get(2..2 + count)?
        .iter()
        .try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?;
    Some((2 + count, length))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_have_the_length_that_they_say() {
        let check = |size: usize, head: usize| {
            let made = item(SEQUENCE, &vec![7; size]);
            assert_eq!((made.len(), header(&made)), (head + size, Some((head, size))));
        };
        check(0, 2);
        check(127, 2);
        check(128, 3);
        check(255, 3);
        check(256, 4);
        check(70_000, 5);
        assert_eq!(header(&[SEQUENCE]), None);
        assert_eq!(header(&[SEQUENCE, 0x82, 1]), None);
    }
}
