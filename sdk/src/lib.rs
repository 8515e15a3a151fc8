//! What a plugin author sees: traits and one export macro per plugin kind.
