//! What the running kernel says of its own structures: the few questions that netclaim has.
//!
//! The format is <https://docs.kernel.org/bpf/btf.html>. It must never trust a byte of it: whatever
//! they are, an answer or an error comes, in time that their number bounds.

use std::collections::BTreeSet;

/// `BTF_MAGIC`, in the byte order of the machine.
const MAGIC: u16 = 0xeb9f;

/// Bytes of `struct btf_header` up to what this reads.
const HEADER: usize = 24;

/// Bytes of `struct btf_type`.
const TYPE: usize = 12;

/// `BTF_KIND_*` of include/uapi/linux/btf.h.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// The types of a kernel; it borrows their bytes and keeps where each begins.
#[derive(Debug)]
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` each type is; the first one has the id 1.
    starts: Vec<u32>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The bytes are no BTF of this machine, or of a later format.
    #[error("not BTF as this driver reads it: {0}")]
    Malformed(&'static str),
    /// There is no such type.
    #[error("the kernel has no {kind} {name}")]
    NoType {
        /// `struct`, `enum` or `typedef`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The type has no such member, or one that is not whole bytes.
    #[error("the kernel's struct {of} has no {member}")]
    NoMember {
        /// The structure asked.
        of: String,
        /// The member asked for, as `nd_net.net`.
        member: String,
    },
}

/// One `struct btf_type` and what follows it.
#[derive(Clone, Copy, Debug)]
struct Type<'a> {
    name: u32,
    info: u32,
    /// Size, or the type that it refers to.
    refers: u32,
    rest: &'a [u8],
}

impl<'a> Btf<'a> {
    /// Finds the types in `bytes`, such as those of `/sys/kernel/btf/vmlinux`.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BtfError> {
        let word = |at| word(bytes, at).ok_or(BtfError::Malformed("the header is cut short"));
        let magic = bytes.first_chunk().map(|first| u16::from_ne_bytes(*first));
        if magic != Some(MAGIC) {
            return Err(BtfError::Malformed("it does not begin with BTF's magic"));
        }
        let header = word(4)?;
        let section = |offset, len| {
            let start = (header as usize).checked_add(offset as usize)?;
            bytes.get(start..start.checked_add(len as usize)?)
        };
        let cut = BtfError::Malformed("a section is beyond its end");
        if (header as usize) < HEADER {
            return Err(BtfError::Malformed("its header is too short"));
        }
        let mut btf = Self {
            types: section(word(8)?, word(12)?).ok_or_else(|| cut.clone())?,
            strings: section(word(16)?, word(20)?).ok_or(cut)?,
            starts: Vec::new(),
        };
        btf.index()?;
        Ok(btf)
    }

    /// Bytes from the start of a structure to a member, or to a member of that, and so on. Members
    /// of unnamed structures and unions are members of what they stand in, as in C.
    pub fn offset(&self, structure: &str, members: &[&str]) -> Result<u32, BtfError> {
        let (mut id, _) = self.find("struct", kind::STRUCT, structure)?;
        let missing = || BtfError::NoMember {
            of: structure.to_owned(),
            member: members.join("."),
        };
        let mut bits = 0_u32;
        for name in members {
            let (offset, of) = self.member(id, name).ok_or_else(missing)?;
            bits = bits.checked_add(offset).ok_or_else(missing)?;
            id = self.bare(of);
        }
        let whole = bits.is_multiple_of(8);
        whole.then_some(bits / 8).ok_or_else(missing)
    }

    /// The names and numbers of an `enum`, in its order.
    pub fn enumerators(&self, name: &str) -> Result<Vec<(&'a str, u32)>, BtfError> {
        let (_, found) = self.find("enum", kind::ENUM, name)?;
        let numbers = found.rest.chunks_exact(8).filter_map(|chunk| {
            let name = self.name(word(chunk, 0)?)?;
            Some((name, word(chunk, 4)?))
        });
        Ok(numbers.collect())
    }

    /// How many parameters the functions have that a `typedef` names by a pointer. Of a tracepoint,
    /// `btf_trace_` and its name is such a one, and its first parameter is the kernel's own.
    pub fn parameters(&self, typedef: &str) -> Result<usize, BtfError> {
        let (id, _) = self.find("typedef", kind::TYPEDEF, typedef)?;
        let pointer = self.get(self.bare(id));
        let function = pointer.and_then(|pointer| self.get(self.bare(pointer.refers)));
        function
            .filter(|function| function.kind() == kind::FUNC_PROTO)
            .map(|function| function.len())
            .ok_or_else(|| BtfError::NoType {
                kind: "function of typedef",
                name: typedef.to_owned(),
            })
    }

    fn index(&mut self) -> Result<(), BtfError> {
        let mut at = 0;
        while at < self.types.len() {
            let start = u32::try_from(at).map_err(|_| BtfError::Malformed("it is too long"))?;
            let header = self.types.get(at..).and_then(Type::read);
            let header = header.ok_or(BtfError::Malformed("a type is cut short"))?;
            self.starts.push(start);
            at += TYPE + header.rest()?;
        }
        if at > self.types.len() {
            return Err(BtfError::Malformed("the last type is cut short"));
        }
        Ok(())
    }

    fn find(&self, word: &'static str, kind: u32, name: &str) -> Result<(u32, Type<'a>), BtfError> {
        let ids = (1..).take(self.starts.len());
        let mut types = ids.filter_map(|id| Some((id, self.get(id)?)));
        types
            .find(|(_, found)| found.kind() == kind && self.is_named(found.name, name))
            .ok_or_else(|| BtfError::NoType {
                kind: word,
                name: name.to_owned(),
            })
    }

    /// Bits from the start of a structure to a member, and the member's type.
    fn member(&self, id: u32, name: &str) -> Option<(u32, u32)> {
        let mut open = vec![(id, 0_u32)];
        // Hostile types may contain each other.
        let mut seen = BTreeSet::from([id]);
        while let Some((id, base)) = open.pop() {
            let Some(structure) = self.get(id).filter(Type::is_structure) else {
                continue;
            };
            for member in structure.rest.chunks_exact(12) {
                let (member_name, of) = (word(member, 0)?, word(member, 4)?);
                let offset = base.checked_add(structure.bits(word(member, 8)?))?;
                if self.is_named(member_name, name) {
                    return Some((offset, of));
                }
                let inner = self.bare(of);
                if self.is_named(member_name, "") && seen.insert(inner) {
                    open.push((inner, offset));
                }
            }
        }
        None
    }

    /// What a type is behind its other names and qualifiers.
    fn bare(&self, mut id: u32) -> u32 {
        // Longer chains are no kernel's.
        for _ in 0..16 {
            match self.get(id) {
                Some(found) if found.is_modifier() => id = found.refers,
                _ => break,
            }
        }
        id
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let start = *self.starts.get((id as usize).checked_sub(1)?)? as usize;
        let read = self.types.get(start..).and_then(Type::read)?;
        let rest = read.rest.get(..read.rest().ok()?)?;
        Some(Type { rest, ..read })
    }

    fn is_named(&self, at: u32, name: &str) -> bool {
        let rest = self.strings.get(at as usize..);
        let rest = rest.and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    fn name(&self, at: u32) -> Option<&'a str> {
        let rest = self.strings.get(at as usize..)?;
        let name = rest.split(|byte| *byte == 0).next()?;
        str::from_utf8(name).ok()
    }
}

impl<'a> Type<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        Some(Self {
            name: word(bytes, 0)?,
            info: word(bytes, 4)?,
            refers: word(bytes, 8)?,
            rest: bytes.get(TYPE..)?,
        })
    }

    fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }

    fn len(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Bytes that follow the type itself.
    fn rest(&self) -> Result<usize, BtfError> {
        Ok(match self.kind() {
            kind::PTR | kind::FWD..=kind::FUNC | kind::FLOAT | kind::TYPE_TAG => 0,
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::ENUM | kind::FUNC_PROTO => self.len() * 8,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => self.len() * 12,
            _ => return Err(BtfError::Malformed("a type is of an unknown kind")),
        })
    }

    fn is_structure(&self) -> bool {
        matches!(self.kind(), kind::STRUCT | kind::UNION)
    }

    fn is_modifier(&self) -> bool {
        matches!(
            self.kind(),
            kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG
        )
    }

    /// Where a member begins: beside it, in the same word, is the width of bit fields if the type
    /// says so (`kind_flag`).
    fn bits(&self, offset: u32) -> u32 {
        if self.info >> 31 == 1 {
            offset & 0x00ff_ffff
        } else {
            offset
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests;
