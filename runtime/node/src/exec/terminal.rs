//! What a terminal does between the keys and the program: it shows what is typed, and hands over whole lines.

/// A line on its way.
#[derive(Debug, Default)]
pub(crate) struct Terminal {
    line: Vec<u8>,
}

/// What comes of keys.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Typed {
    /// For the program.
    pub(crate) given: Vec<u8>,
    /// For the screen.
    pub(crate) shown: Vec<u8>,
    /// The input is over: Ctrl-D on an empty line.
    pub(crate) over: bool,
    /// The program is to end: Ctrl-C.
    pub(crate) interrupted: bool,
}

/// Ctrl-C. A component hears no signals: who heeds interrupts finds this among what it reads.
pub(crate) const INTERRUPT: u8 = 0x03;

/// A line takes no more than this.
const LONGEST: usize = 4096;

impl Terminal {
    /// Takes keys in.
    pub(crate) fn type_in(&mut self, keys: &[u8]) -> Typed {
        let mut typed = Typed::default();
        for key in keys {
            match key {
                b'\r' | b'\n' => {
                    typed.shown.extend(b"\r\n");
                    typed.given.append(&mut self.line);
                    typed.given.push(b'\n');
                }
                // The line is given up, and what it would have been part of.
                &INTERRUPT => {
                    self.line.clear();
                    typed.shown.extend(b"^C\r\n");
                    typed.given.push(INTERRUPT);
                    typed.interrupted = true;
                }
                0x04 if self.line.is_empty() => {
                    typed.over = true;
                    break;
                }
                0x04 => typed.given.append(&mut self.line),
                0x08 | 0x7f => self.rub_out(&mut typed.shown),
                // Ctrl-U.
                0x15 => {
                    while !self.line.is_empty() {
                        self.rub_out(&mut typed.shown);
                    }
                }
                b'\t' | 0x20.. if self.line.len() < LONGEST => {
                    self.line.push(*key);
                    typed.shown.push(*key);
                }
                _ => {}
            }
        }
        typed
    }

    fn rub_out(&mut self, shown: &mut Vec<u8>) {
        // A sign beyond ASCII is several bytes, of which all but the first begin with 10.
        while let Some(byte) = self.line.pop() {
            if byte & 0xc0 != 0x80 {
                shown.extend(b"\x08 \x08");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_lines() {
        let check = |keys: &str, given: &str, shown: &str, over: bool| {
            let typed = Terminal::default().type_in(keys.as_bytes());
            let interrupted = given.contains('\x03');
            let expected = Typed { given: given.into(), shown: shown.into(), over, interrupted };
            assert_eq!(typed, expected, "{keys:?}");
        };
        check("ls\r", "ls\n", "ls\r\n", false);
        check("lx\x7fs\r", "ls\n", "lx\x08 \x08s\r\n", false);
        check("ä\x7fb\r", "b\n", "ä\x08 \x08b\r\n", false);
        check("abc\x15d\r", "d\n", "abc\x08 \x08\x08 \x08\x08 \x08d\r\n", false);
        check("abc\x03d\r", "\x03d\n", "abc^C\r\nd\r\n", false);
        check("half", "", "half", false);
        check("\x04", "", "", true);
        check("cat\x04", "cat", "cat", false);
    }
}
