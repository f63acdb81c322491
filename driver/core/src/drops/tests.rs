use super::*;

#[test]
fn reasons_are_named_as_the_kernel_does_and_otherwise_numbered() {
    let reasons = Reasons::new([
        ("SKB_NOT_DROPPED_YET", 0),
        ("SKB_CONSUMED", 1),
        ("SKB_DROP_REASON_NO_SOCKET", 4),
        ("SKB_DROP_REASON_SUBSYS_MASK", 0xffff_0000),
    ]);
    for (reason, name) in [
        (4, "NO_SOCKET"),
        (1, "reason_1"),
        (200, "reason_200"),
        (0x0002_0011, "subsystem_2_17"),
    ] {
        assert_eq!(&*reasons.name(reason), name);
    }
}

#[test]
fn drops_add_up_and_those_with_most_come_first() {
    let few = Arc::from("IP_CSUM");
    let drops: Drops = [(Arc::clone(&few), 1), ("NO_SOCKET".into(), 5), (few, 2)]
        .into_iter()
        .collect();
    assert_eq!(drops.total(), 8);
    assert_eq!(drops.most_first(), [("NO_SOCKET", 5), ("IP_CSUM", 3)]);
    assert_eq!(
        serde_json::to_string(&drops).unwrap(),
        r#"{"IP_CSUM":3,"NO_SOCKET":5}"#
    );
}
