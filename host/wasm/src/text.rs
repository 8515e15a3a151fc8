//! Text from guests, made fit for logs and answers.

/// `text` without control characters and cut to `most` bytes.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let text = text.trim_end();
    if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len().min(most));
    for c in text.chars() {
        let c = if c.is_control() { ' ' } else { c };
        if line.len() + c.len_utf8() > most {
            break;
        }
        line.push(c);
    }
    line
}

/// `text` itself, cut to `most` bytes at a character's edge.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if text.len() > most {
        let edge = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(edge);
        text.shrink_to_fit();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_at_characters() {
        assert_eq!(cut("aéé".into(), 4), "aé");
        assert_eq!(cut("aéé".into(), 5), "aéé");
        assert_eq!(one_line("aé\né", 4), "aé ");
        assert_eq!(one_line("a\u{1b}[31m\r\nfake line\n", 100), "a [31m  fake line");
    }
}
