//! Which loader an executable file asks the kernel for.

/// The interpreter that a file's first bytes name: the `#!` line of a script, or `PT_INTERP` of a
/// 64-bit little-endian ELF file. When exec says ENOENT for a file that exists, this is what does
/// not exist (`fs/binfmt_script.c`, `fs/binfmt_elf.c`).
pub fn interpreter(head: &[u8]) -> Option<String> {
    let name = match head.strip_prefix(b"#!") {
        Some(rest) => {
            let line = rest.split(|byte| *byte == b'\n').next()?;
            line.split(u8::is_ascii_whitespace)
                .find(|word| !word.is_empty())?
        }
        None => elf_interpreter(head)?,
    };
    Some(String::from_utf8_lossy(name).into_owned())
}

/// Offsets are those of `Elf64_Ehdr` and `Elf64_Phdr` (elf(5)).
fn elf_interpreter(head: &[u8]) -> Option<&[u8]> {
    const PT_INTERP: u64 = 3;
    if !head.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let table = number(head, 32, 8)?;
    let entry = number(head, 54, 2)?;
    let entries = number(head, 56, 2)?;
    let header = (0..entries)
        .filter_map(|at| table.checked_add(at.checked_mul(entry)?))
        .find(|header| number(head, *header, 4) == Some(PT_INTERP))?;
    let start = usize::try_from(number(head, header.checked_add(8)?, 8)?).ok()?;
    head.get(start..)?.split(|byte| *byte == 0).next()
}

fn number(head: &[u8], at: u64, width: usize) -> Option<u64> {
    let at = usize::try_from(at).ok()?;
    let bytes = head.get(at..at.checked_add(width)?)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
    )
}
