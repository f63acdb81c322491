use super::*;

fn reads(code: KeyCode, modifiers: KeyModifiers) -> Option<Msg> {
    read(KeyEvent::new(code, modifiers), false)
}

#[test]
fn no_key_means_two_things() {
    let bindings = || GROUPS.iter().flat_map(|group| group.bindings);
    for press in bindings().flat_map(|binding| binding.keys) {
        let count = bindings()
            .filter(|binding| binding.keys.contains(press))
            .count();
        assert_eq!(count, 1, "{press:?}");
    }
}

#[test]
fn no_letter_of_a_column_is_taken() {
    for view in View::ALL {
        for (index, column) in view.columns().iter().enumerate() {
            let found = reads(KeyCode::Char(column.letter), KeyModifiers::SHIFT);
            assert_eq!(
                found,
                Some(Msg::Act(Action::SortBy(column.letter))),
                "{}",
                column.title
            );
            let same = view
                .columns()
                .iter()
                .position(|other| other.letter == column.letter);
            assert_eq!(same, Some(index), "{} of {}", column.letter, view.name());
        }
    }
}

#[test]
fn terminals_may_report_shift_or_not() {
    let end = Some(Msg::Act(Action::Move(Step::Last)));
    assert_eq!(reads(KeyCode::Char('G'), KeyModifiers::SHIFT), end);
    assert_eq!(reads(KeyCode::Char('G'), KeyModifiers::NONE), end);
    let right = Some(Msg::Act(Action::SortRight));
    assert_eq!(reads(KeyCode::Right, KeyModifiers::SHIFT), right);
    assert_eq!(reads(KeyCode::Right, KeyModifiers::NONE), None);
}

#[test]
fn typing_takes_letters_as_letters() {
    let typed = |code, modifiers| read(KeyEvent::new(code, modifiers), true);
    let (none, ctrl) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
    assert_eq!(
        typed(KeyCode::Char('q'), none),
        Some(Msg::Typed(Edit::Insert('q')))
    );
    assert_eq!(
        typed(KeyCode::Char('c'), ctrl),
        Some(Msg::Typed(Edit::Cancel))
    );
    assert_eq!(typed(KeyCode::Esc, none), Some(Msg::Typed(Edit::Cancel)));
    assert_eq!(typed(KeyCode::Up, none), None);
}
