use proptest::prelude::*;

use super::*;

/// Writes BTF as a compiler does.
#[derive(Default)]
struct Writer {
    types: Vec<u32>,
    strings: Vec<u8>,
}

impl Writer {
    fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
        }
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = u32::try_from(self.strings.len()).unwrap();
        self.strings.extend(text.bytes());
        self.strings.push(0);
        at
    }

    /// A type with members of three words each.
    fn structure(&mut self, kind: u32, name: &str, members: &[(&str, u32, u32)]) {
        self.head(kind, name, members.len(), 0);
        for (name, of, bits) in members {
            let name = self.string(name);
            self.types.extend([name, *of, *bits]);
        }
    }

    fn head(&mut self, kind: u32, name: &str, len: usize, refers: u32) {
        let name = self.string(name);
        let len = u32::try_from(len).unwrap();
        self.types.extend([name, kind << 24 | len, refers]);
    }

    fn bytes(&self) -> Vec<u8> {
        let types: Vec<u8> = self.types.iter().flat_map(|w| w.to_ne_bytes()).collect();
        let (types_len, strings_len) = (
            u32::try_from(types.len()).unwrap(),
            u32::try_from(self.strings.len()).unwrap(),
        );
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types_len, types_len, strings_len] {
            bytes.extend(u32::to_ne_bytes(word));
        }
        bytes.extend(types);
        bytes.extend(&self.strings);
        bytes
    }
}

/// A kernel in small: its device stands in an unnamed union of an unnamed structure.
fn kernel() -> Writer {
    let mut btf = Writer::new();
    btf.head(kind::INT, "int", 0, 4);
    btf.types.push(32);
    btf.structure(kind::STRUCT, "net", &[("cookie", 1, 64)]);
    btf.head(kind::PTR, "", 0, 2);
    btf.structure(kind::STRUCT, "", &[("net", 3, 0)]);
    btf.head(kind::TYPEDEF, "possible_net_t", 0, 4);
    btf.structure(kind::UNION, "", &[("dev", 3, 0), ("scratch", 1, 0)]);
    btf.structure(kind::STRUCT, "", &[("next", 1, 0), ("", 6, 128)]);
    let members = [("", 7, 0), ("nd_net", 5, 2_112), ("bit", 1, 3)];
    btf.structure(kind::STRUCT, "sk_buff", &members);
    btf.head(kind::ENUM, "reason", 2, 4);
    let (a, b) = (
        btf.string("SKB_NOT_DROPPED_YET"),
        btf.string("SKB_CONSUMED"),
    );
    btf.types.extend([a, 0, b, 1]);
    btf.head(kind::FUNC_PROTO, "", 2, 0);
    btf.types.extend([0, 1, 0, 3]);
    btf.head(kind::PTR, "", 0, 10);
    btf.head(kind::TYPEDEF, "btf_trace_kfree_skb", 0, 11);
    btf
}

fn check(structure: &str, members: &[&str], expected: Result<u32, &str>) {
    let bytes = kernel().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let found = btf.offset(structure, members);
    let found = found.map_err(|error| error.to_string());
    assert_eq!(found, expected.map_err(str::to_owned));
}

#[test]
fn members_are_found_also_in_unnamed_ones() {
    check("sk_buff", &["dev"], Ok(16));
    check("sk_buff", &["nd_net", "net"], Ok(264));
    check("net", &["cookie"], Ok(8));
}

#[test]
fn what_is_missing_is_named() {
    for (structure, members, expected) in [
        ("sock", &["x"][..], "the kernel has no struct sock"),
        (
            "net",
            &["ns", "inum"],
            "the kernel's struct net has no ns.inum",
        ),
        (
            "sk_buff",
            &["bit"],
            "the kernel's struct sk_buff has no bit",
        ),
    ] {
        check(structure, members, Err(expected));
    }
}

#[test]
fn enumerators_and_parameters_are_read() {
    let bytes = kernel().bytes();
    let btf = Btf::parse(&bytes).unwrap();
    let names = btf.enumerators("reason").unwrap();
    assert_eq!(names, [("SKB_NOT_DROPPED_YET", 0), ("SKB_CONSUMED", 1)]);
    assert_eq!(btf.parameters("btf_trace_kfree_skb"), Ok(2));
    let none = btf.parameters("possible_net_t").unwrap_err();
    assert_eq!(
        none.to_string(),
        "the kernel has no function of typedef possible_net_t"
    );
}

#[test]
fn what_is_no_btf_is_refused() {
    let whole = kernel().bytes();
    let mut strange = Writer::new();
    strange.head(31, "x", 0, 0);
    for (bytes, words) in [
        (&[][..], "it does not begin with BTF's magic"),
        (&whole[..7], "the header is cut short"),
        (&whole[..40], "a section is beyond its end"),
        (&strange.bytes(), "a type is of an unknown kind"),
    ] {
        let error = Btf::parse(bytes).unwrap_err();
        assert_eq!(error, BtfError::Malformed(words));
    }
}

#[test]
fn structures_that_contain_each_other_end() {
    let mut btf = Writer::new();
    btf.structure(kind::STRUCT, "a", &[("", 2, 0), ("", 1, 0)]);
    btf.structure(kind::UNION, "", &[("", 1, 0), ("", 2, 0)]);
    btf.head(kind::TYPEDEF, "loop", 0, 3);
    let bytes = btf.bytes();
    let btf = Btf::parse(&bytes).unwrap();
    assert!(btf.offset("a", &["x"]).is_err());
    assert!(btf.parameters("loop").is_err());
}

proptest! {
    #[test]
    fn no_byte_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in any::<prop::sample::Index>(),
        keep in any::<bool>(),
    ) {
        let mut bytes = kernel().bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if !keep {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(btf) = Btf::parse(&bytes) {
            let _ = btf.offset("sk_buff", &["nd_net", "net"]);
            let _ = btf.enumerators("reason");
            let _ = btf.parameters("btf_trace_kfree_skb");
        }
    }
}
