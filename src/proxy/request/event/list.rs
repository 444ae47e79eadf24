//! A list of tokens with parameters (RFC 9651). Only the parameter `n` counts; others have to be valid.

const MOST: u64 = 1_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member<'a> {
    pub(super) name: &'a [u8],
    /// 1 by default; `None`: no integer from 1 to 1,000.
    pub(super) n: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

pub(super) struct Members<'a> {
    rest: &'a [u8],
    is_over: bool,
}

impl<'a> Members<'a> {
    pub(super) fn of(line: &'a [u8]) -> Members<'a> {
        let rest = line.trim_ascii();
        Members { rest, is_over: rest.is_empty() }
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        taken
    }

    fn skip(&mut self, byte: u8) -> bool {
        let is = self.rest.first() == Some(&byte);
        if is {
            self.take(1);
        }
        is
    }

    fn run(&mut self, is: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|byte| !is(*byte)).unwrap_or(self.rest.len());
        self.take(end)
    }

    fn token(&mut self) -> Result<&'a [u8], Malformed> {
        match self.rest.first() {
            Some(byte) if byte.is_ascii_alphabetic() || *byte == b'*' => Ok(self.run(is_of_token)),
            _ => Err(Malformed),
        }
    }

    fn member(&mut self) -> Result<Member<'a>, Malformed> {
        let name = self.token()?;
        let mut n = Some(1);
        while self.skip(b';') {
            self.run(|byte| byte == b' ');
            if !self.rest.first().is_some_and(|byte| byte.is_ascii_lowercase() || *byte == b'*') {
                return Err(Malformed);
            }
            let key = self.run(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte));
            let value = if self.skip(b'=') { self.item()? } else { None };
            if key == b"n" {
                n = value.filter(|n| (1..=MOST).contains(n)).and_then(|n| u32::try_from(n).ok());
            }
        }
        self.run(is_space);
        if self.rest.is_empty() {
            self.is_over = true;
        } else {
            if !self.skip(b',') {
                return Err(Malformed);
            }
            self.run(is_space);
            if self.rest.is_empty() {
                return Err(Malformed);
            }
        }
        Ok(Member { name, n })
    }

    /// A value; `Some`: an integer that is not negative.
    fn item(&mut self) -> Result<Option<u64>, Malformed> {
        match self.rest.first() {
            Some(b'"') => self.string().map(|()| None),
            Some(b'%') => {
                self.take(1);
                if self.rest.first() != Some(&b'"') {
                    return Err(Malformed);
                }
                self.string().map(|()| None)
            }
            Some(b':') => {
                self.take(1);
                self.run(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
                if self.skip(b':') { Ok(None) } else { Err(Malformed) }
            }
            Some(b'?') => {
                self.take(1);
                if self.skip(b'0') || self.skip(b'1') { Ok(None) } else { Err(Malformed) }
            }
            Some(b'@') => {
                self.take(1);
                self.number().map(|_| None)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => self.token().map(|_| None),
        }
    }

    fn number(&mut self) -> Result<Option<u64>, Malformed> {
        let negative = self.skip(b'-');
        let digits = self.run(|byte| byte.is_ascii_digit());
        if digits.is_empty() || digits.len() > 15 {
            return Err(Malformed);
        }
        if self.skip(b'.') {
            let decimals = self.run(|byte| byte.is_ascii_digit()).len();
            return if (1..=3).contains(&decimals) && digits.len() <= 12 { Ok(None) } else { Err(Malformed) };
        }
        let number = digits.iter().fold(0, |number: u64, digit| number * 10 + u64::from(digit - b'0'));
        Ok(Some(number).filter(|_| !negative))
    }

    fn string(&mut self) -> Result<(), Malformed> {
        self.take(1);
        loop {
            self.run(|byte| (b' '..=b'~').contains(&byte) && byte != b'"' && byte != b'\\');
            if self.skip(b'"') {
                return Ok(());
            }
            if !(self.skip(b'\\') && (self.skip(b'"') || self.skip(b'\\'))) {
                return Err(Malformed);
            }
        }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Result<Member<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let member = self.member();
        self.is_over |= member.is_err();
        Some(member)
    }
}

fn is_space(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// RFC 9110, 5.6.2, with `:` and `/`.
fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(line: &str) -> Result<Vec<(String, Option<u32>)>, Malformed> {
        let shown = |member: Member<'_>| (String::from_utf8_lossy(member.name).into_owned(), member.n);
        Members::of(line.as_bytes()).map(|member| member.map(shown)).collect()
    }

    #[test]
    fn tokens_with_parameters_are_read_whatever_is_between_them() {
        let two = vec![("order".to_owned(), Some(1)), ("a/b:c".to_owned(), Some(1_000))];
        for line in [
            "order,a/b:c;n=1000",
            " order \t, a/b:c; n=7; n=1000 ",
            "order;x=\"a,\\\"b\";y=?0,a/b:c;z=:YQ==:;n=1000;w=1.5;t=@5;q=tok",
        ] {
            assert_eq!(members(line).as_ref(), Ok(&two), "{line}");
        }
        assert_eq!(members(""), Ok(Vec::new()));
    }

    #[test]
    fn a_number_of_events_is_an_integer_from_1_to_1000() {
        for (n, read) in [
            ("1", Some(1)),
            ("1000", Some(1_000)),
            ("0", None),
            ("1001", None),
            ("-1", None),
            ("1.0", None),
            ("\"1\"", None),
            ("?1", None),
        ] {
            assert_eq!(members(&format!("order;n={n}")), Ok(vec![("order".to_owned(), read)]), "{n}");
        }
        assert_eq!(members("order;n"), Ok(vec![("order".to_owned(), None)]));
    }

    #[test]
    fn what_is_no_list_of_tokens_is_malformed() {
        for line in [
            ",",
            "order,",
            ",order",
            "order order",
            "\"order\"",
            "(order)",
            "1",
            "order;",
            "order;N=1",
            "order;n=",
            "order;n=\"",
            "order;n=12345678901234567",
            "order;n=1.",
            "ord\u{e9}r",
            "order;x=:a",
            "order;x=?2",
            "order;x=\"\\a\"",
        ] {
            assert_eq!(members(line), Err(Malformed), "{line}");
        }
    }
}
