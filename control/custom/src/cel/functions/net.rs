//! Addresses and blocks of them (Kubernetes' `ip` and `cidr`).

use std::net::IpAddr;

use super::super::meter::{Fail, Meter};
use super::super::value::V;
use super::Outcome;
use crate::schema::format::is_cidr;

pub(super) fn call<'a>(name: &str, args: &[V<'a>], _: &mut Meter) -> Option<Outcome<'a>> {
    Some(match (name, args) {
        ("ip", [V::Text(text)]) => address(text).map(V::Ip),
        ("isIP", [V::Text(text)]) => Ok(V::Bool(address(text).is_ok())),
        ("ip.isCanonical", [V::Text(text)]) => address(text).map(|ip| V::Bool(ip.to_string() == **text)),
        ("family", [V::Ip(ip)]) => Ok(V::Int(if ip.is_ipv4() { 4 } else { 6 })),
        ("isUnspecified", [V::Ip(ip)]) => Ok(V::Bool(ip.is_unspecified())),
        ("isLoopback", [V::Ip(ip)]) => Ok(V::Bool(ip.is_loopback())),
        ("isLinkLocalMulticast", [V::Ip(ip)]) => Ok(V::Bool(match ip {
            IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
            IpAddr::V6(ip) => ip.segments()[0] & 0xff0f == 0xff02,
        })),
        ("isLinkLocalUnicast", [V::Ip(ip)]) => Ok(V::Bool(link_local(ip))),
        ("isGlobalUnicast", [V::Ip(ip)]) => {
            let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
            let special = ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local(ip);
            Ok(V::Bool(!special && !broadcast))
        }
        ("cidr", [V::Text(text)]) => block(text).map(|(ip, bits)| V::Cidr(ip, bits)),
        ("isCIDR", [V::Text(text)]) => Ok(V::Bool(block(text).is_ok())),
        ("containsIP", [V::Cidr(ip, bits), V::Ip(other)]) => Ok(V::Bool(contains(*ip, *bits, *other))),
        ("containsIP", [V::Cidr(ip, bits), V::Text(other)]) => {
            address(other).map(|other| V::Bool(contains(*ip, *bits, other)))
        }
        ("containsCIDR", [V::Cidr(ip, bits), V::Cidr(other, longer)]) => {
            Ok(V::Bool(bits <= longer && contains(*ip, *bits, *other)))
        }
        ("containsCIDR", [V::Cidr(ip, bits), V::Text(other)]) => {
            block(other).map(|(other, longer)| V::Bool(*bits <= longer && contains(*ip, *bits, other)))
        }
        ("ip", [V::Cidr(ip, _)]) => Ok(V::Ip(*ip)),
        ("masked", [V::Cidr(ip, bits)]) => Ok(V::Cidr(mask(*ip, *bits), *bits)),
        ("prefixLength", [V::Cidr(_, bits)]) => Ok(V::Int((*bits).into())),
        _ => return None,
    })
}

fn address(text: &str) -> Result<IpAddr, Fail> {
    let ip: IpAddr = text.parse().map_err(|_| {
        Fail::error(format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        ))
    })?;
    match ip {
        IpAddr::V6(six) if six.to_ipv4_mapped().is_some() => {
            Err(Fail::error(format!("IPv4-mapped IPv6 address {text:?} is not allowed")))
        }
        ip => Ok(ip),
    }
}

fn block(text: &str) -> Result<(IpAddr, u8), Fail> {
    let wrong = || {
        Fail::error(format!("network address parse error during conversion from string: netip.ParsePrefix({text:?})"))
    };
    let (ip, bits) = text.split_once('/').filter(|_| is_cidr(text)).ok_or_else(wrong)?;
    Ok((address(ip)?, bits.parse().map_err(|_| wrong())?))
}

fn link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

fn mask(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((u32::from(ip) & u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0)).into()),
        IpAddr::V6(ip) => {
            IpAddr::V6((u128::from(ip) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)).into())
        }
    }
}

fn contains(ip: IpAddr, bits: u8, other: IpAddr) -> bool {
    ip.is_ipv4() == other.is_ipv4() && mask(ip, bits) == mask(other, bits)
}
