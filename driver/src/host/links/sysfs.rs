//! The device behind a link, from sysfs.

use std::{
    fs,
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use netclaim_core::inventory::link::{Hardware, Link};

/// Reads what sysfs says of a link; nothing where it speaks of another one.
///
/// A sysfs shows the links of the namespace in which it was mounted, so a name alone proves nothing.
pub(super) fn hardware(sysfs: &Path, link: &Link) -> Hardware {
    let folder = sysfs.join("class/net").join(&link.name);
    let virtual_pair = link.kind.as_deref() == Some("veth");
    let same = number(&folder.join("ifindex")) == Some(link.index)
        && text(&folder.join("address")) == link.mac;
    if virtual_pair || !same {
        return Hardware::default();
    }
    let device = fs::canonicalize(folder.join("device")).ok();
    let pci = device.as_deref().and_then(pci);
    let at_pci = |name: &str| pci.as_ref().map(|pci| pci.path.join(name));
    Hardware {
        driver: device.as_deref().and_then(driver),
        // Unknown is -1, and without carrier the read fails.
        speed: number(&folder.join("speed")),
        // None is -1.
        numa_node: at_pci("numa_node").and_then(|path| number(&path)),
        pcie_root: pci.as_ref().and_then(|pci| pci.root.clone()),
        pci_address: pci.map(|pci| pci.address),
    }
}

/// The PCI function that carries a device, which may itself be on a bus above it (virtio).
struct Pci {
    path: PathBuf,
    address: String,
    root: Option<String>,
}

/// The last PCI function in a device's path, and the first component that is a PCI root.
fn pci(device: &Path) -> Option<Pci> {
    let path = device.ancestors().find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(is_pci_address)
    })?;
    let address = path.file_name()?.to_str()?.to_owned();
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => name.to_str(),
        _ => None,
    });
    let mut roots = names.filter(|name| is_pci_root(name));
    Some(Pci {
        root: roots.next().map(str::to_owned),
        path: path.to_owned(),
        address,
    })
}

/// `dddd:bb:dd.f` in lower-case hex, as `resource.kubernetes.io/pciBusID` wants it.
fn is_pci_address(name: &str) -> bool {
    let shape = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b':',
        10 => byte == b'.',
        _ => is_hex_digit(byte),
    };
    name.len() == 12 && name.bytes().enumerate().all(shape)
}

/// `pcidddd:bb`.
fn is_pci_root(name: &str) -> bool {
    let number = name
        .strip_prefix("pci")
        .and_then(|rest| rest.split_once(':'));
    number.is_some_and(|(domain, bus)| is_hex(domain) && is_hex(bus))
}

fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_hex_digit)
}

fn is_hex_digit(byte: u8) -> bool {
    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
}

fn driver(device: &Path) -> Option<String> {
    let driver = fs::canonicalize(device.join("driver")).ok()?;
    Some(driver.file_name()?.to_str()?.to_owned())
}

fn number<T: FromStr>(path: &Path) -> Option<T> {
    text(path)?.parse().ok()
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim_end().to_owned())
}

#[cfg(test)]
mod tests;
