use super::*;

#[test]
fn rows_are_dense_and_do_not_overlap() {
    const SLOTS: u32 = 5;
    const N_CPUS: u32 = 3;
    let mut expected = 0;
    for slot in 0..SLOTS {
        for direction in DIRECTIONS {
            for cpu in 0..N_CPUS {
                assert_eq!(row(slot, direction, N_CPUS, cpu), expected);
                expected += 1;
            }
        }
    }
    assert_eq!(rows(SLOTS, N_CPUS), expected);
}

#[test]
fn words_are_the_fields_in_order() {
    let row = Row::from_words([1, 2, 3, 4, 5, 6, 7, 8]);
    let expected = Row {
        packets: 1,
        segments: 2,
        bytes: 3,
        jiffy: 4,
        jiffy_bytes: 5,
        epoch: 6,
        peak: 7,
        last_peak: 8,
    };
    assert_eq!(row, expected);
    assert_eq!(core::mem::offset_of!(Row, packets), 0);
    assert_eq!(core::mem::offset_of!(Row, segments), 8);
    assert_eq!(core::mem::offset_of!(Row, bytes), 16);
    assert_eq!(core::mem::offset_of!(Row, jiffy), 24);
    assert_eq!(core::mem::offset_of!(Row, jiffy_bytes), 32);
    assert_eq!(core::mem::offset_of!(Row, epoch), 40);
    assert_eq!(core::mem::offset_of!(Row, peak), 48);
    assert_eq!(core::mem::offset_of!(Row, last_peak), 56);
}

#[test]
fn the_map_name_carries_the_version() {
    assert!(COUNTERS.ends_with("_V1"));
    assert_eq!(LAYOUT_VERSION, 1);
    // The kernel keeps 15 bytes of a name (BPF_OBJ_NAME_LEN) and the driver compares it.
    assert!(COUNTERS.len() <= 15);
}
