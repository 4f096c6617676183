use super::Span;

/// A metric of canaries: where it is asked for, and between what its value must be.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricLimit {
    /// The least it may be; one of both is there.
    pub min: Option<f64>,
    /// The most it may be, not less than `min`.
    pub max: Option<f64>,
    /// Where the metrics store is, an `http` or `https` URL: `/api/v1/query` is added to it.
    pub address: String,
    /// What is asked, with names such as `{{ version }}` in it.
    pub query: String,
}

/// Which limit a value is beyond.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beyond {
    /// Less than the least.
    Below(f64),
    /// More than the most.
    Above(f64),
}

impl Beyond {
    /// The limit.
    pub fn limit(self) -> f64 {
        match self {
            Self::Below(limit) | Self::Above(limit) => limit,
        }
    }
}

/// What stands for the names in a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filling<'a> {
    /// Number of the version of the job that the canaries run.
    pub version: u64,
    /// Number of the version before it that was stable last; none if there was none.
    pub stable_version: Option<u64>,
    /// Job.
    pub job: &'a str,
    /// Group.
    pub group: &'a str,
    /// The service whose labels say that it is asked.
    pub service: &'a str,
    /// How much of the time of the step has passed.
    pub window: Span,
}

impl Filling<'_> {
    /// The shortest window that is asked about, seconds.
    const WINDOW_MIN: i64 = 15;

    fn of(&self, name: &str) -> Option<String> {
        Some(match name {
            "version" => self.version.to_string(),
            "stable_version" => self
                .stable_version
                .map_or_else(String::new, |version| version.to_string()),
            "job" => self.job.to_owned(),
            "group" => self.group.to_owned(),
            "service" => self.service.to_owned(),
            "window" => {
                let seconds = self.window.as_nanos() / 1_000_000_000;
                format!("{}s", seconds.max(Self::WINDOW_MIN))
            }
            _ => return None,
        })
    }
}

impl MetricLimit {
    /// The only kind of metrics store.
    pub const SOURCE: &'static str = "prometheus";
    /// The names that a query may have.
    pub const NAMES: [&'static str; 6] = [
        "version",
        "stable_version",
        "job",
        "group",
        "service",
        "window",
    ];
    /// Longest text of limits, address and query, bytes: a label holds no more.
    pub const BYTES_MAX: usize = 2048;

    /// Reads `<0.2 http://prometheus:9090 sum(rate(…))`: limits, an address, and the query.
    ///
    /// # Errors
    /// What is wrong with it and what to write instead. The address is not repeated: it may hold a
    /// password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (limits, rest) = first_word(text);
        let (address, query) = first_word(rest);
        let (min, max) = read_limits(limits)?;
        Self::check_limits(min, max)?;
        Self::check_address(address)?;
        Self::check_query(query)?;
        if text.len() > Self::BYTES_MAX {
            let most = Self::BYTES_MAX;
            return Err(format!(
                "limits, address and query have more than {most} bytes together; let a recording rule of the metrics store hold a long query"
            ));
        }
        Ok(Self {
            min,
            max,
            address: address.to_owned(),
            query: query.to_owned(),
        })
    }

    /// The text that says so much, as [`MetricLimit::parse`] reads it.
    pub fn text(min: Option<f64>, max: Option<f64>, address: &str, query: &str) -> String {
        let min = min.map(|min| format!(">{min}"));
        let max = max.map(|max| format!("<{max}"));
        let limits: Vec<String> = min.into_iter().chain(max).collect();
        format!("{} {} {}", limits.join(","), address.trim(), query.trim())
    }

    /// Whether there can be a value between two limits.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check_limits(min: Option<f64>, max: Option<f64>) -> Result<(), String> {
        match (min, max) {
            (None, None) => Err("there is neither min nor max; a metric needs one of them".into()),
            (Some(min), Some(max)) if min > max => Err(format!(
                "min is {min} and max is {max}; min must not be more than max"
            )),
            _ => Ok(()),
        }
    }

    /// Whether a metrics store can be asked there.
    ///
    /// # Errors
    /// What to write instead; it does not repeat the address.
    pub fn check_address(address: &str) -> Result<(), String> {
        let is_base = !address.contains(['?', '#', '{', '}']);
        if is_base && super::hook_call::is_url(address) {
            return Ok(());
        }
        Err("the address must be a URL without ? and #, such as \"http://prometheus.service.consul:9090\"".into())
    }

    /// Whether there is a query, and all of its names are known.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn check_query(query: &str) -> Result<(), String> {
        if query.trim().is_empty() {
            return Err(
                "there is no query, such as \"sum(rate(errors{version=\\\"{{ version }}\\\"}[1m]))\"".into(),
            );
        }
        let known = || {
            Self::NAMES
                .map(|name| format!("{{{{ {name} }}}}"))
                .join(", ")
        };
        let mut rest = query;
        while let Some((_, name, after)) = next_name(rest) {
            if !Self::NAMES.contains(&name) {
                let known = known();
                return Err(format!(
                    "the query has {{{{ {name} }}}}, which stands for nothing; there are {known}"
                ));
            }
            rest = after;
        }
        if rest.contains("{{") {
            return Err("a {{ in the query is not closed by }}, as {{ version }} is".into());
        }
        Ok(())
    }

    /// Which limit a value is beyond; none if it is as it should be.
    pub fn beyond(&self, value: f64) -> Option<Beyond> {
        let below = self.min.filter(|min| value < *min).map(Beyond::Below);
        below.or_else(|| self.max.filter(|max| value > *max).map(Beyond::Above))
    }

    /// The query with what its names stand for.
    pub fn filled(&self, filling: &Filling<'_>) -> String {
        let mut out = String::new();
        let mut rest = self.query.as_str();
        while let Some((before, name, after)) = next_name(rest) {
            out.push_str(before);
            out.push_str(&filling.of(name).unwrap_or_default());
            rest = after;
        }
        out.push_str(rest);
        out
    }
}

/// What stands before the first `{{ name }}`, the name, and what stands behind it.
fn next_name(text: &str) -> Option<(&str, &str, &str)> {
    let (before, after) = text.split_once("{{")?;
    let (name, behind) = after.split_once("}}")?;
    Some((before, name.trim(), behind))
}

/// The first word and the rest, without spaces around them.
fn first_word(text: &str) -> (&str, &str) {
    let text = text.trim();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

/// `<N`, `>N`, or both with a comma between: the least and the most.
fn read_limits(text: &str) -> Result<(Option<f64>, Option<f64>), String> {
    let wrong = || {
        let said = if text.contains(':') {
            "it begins with no limit".to_owned()
        } else {
            format!("it begins with {text:?}")
        };
        format!(
            "{said}; it must begin with a limit, \"<0.2\", \">5\" or \">1,<5\", then have an address and a query"
        )
    };
    let (mut min, mut max) = (None, None);
    for part in text.split(',') {
        let (place, number) = match (part.strip_prefix('>'), part.strip_prefix('<')) {
            (Some(number), _) => (&mut min, number),
            (_, Some(number)) => (&mut max, number),
            _ => return Err(wrong()),
        };
        let number: f64 = number.parse().map_err(|_| wrong())?;
        if !number.is_finite() || place.replace(number).is_some() {
            return Err(wrong());
        }
    }
    Ok((min, max))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_an_address_and_the_rest_is_the_query() {
        for (text, min, max) in [
            ("<0.2 http://p:9090 up{a=\"b c\"} > 1", None, Some(0.2)),
            (" >5   http://p:9090\n up{a=\"b c\"} > 1 ", Some(5.0), None),
            (
                ">-1,<5e3 http://p:9090 up{a=\"b c\"} > 1",
                Some(-1.0),
                Some(5e3),
            ),
        ] {
            let metric = MetricLimit::parse(text).unwrap();
            assert_eq!((metric.min, metric.max), (min, max), "{text}");
            assert_eq!(metric.address, "http://p:9090");
            assert_eq!(metric.query, "up{a=\"b c\"} > 1");
            let said = MetricLimit::text(min, max, &metric.address, &metric.query);
            assert_eq!(MetricLimit::parse(&said), Ok(metric));
        }
        for (text, part) in [
            ("", "begins with \"\""),
            ("0.2 http://p up", "begins with \"0.2\""),
            ("<=0.2 http://p up", "begins with"),
            ("<nan http://p up", "begins with"),
            ("<1,<2 http://p up", "begins with"),
            (
                "http://ada:secret@prometheus up",
                "it must begin with a limit",
            ),
            (">5,<1 http://p up", "min is 5 and max is 1"),
            ("<1 prometheus:9090 up", "must be a URL"),
            ("<1 http://p/?a=b up", "without ? and #"),
            ("<1 http://ada:secret@p", "there is no query"),
            (
                "<1 http://p up{v=\"{{ canary }}\"}",
                "has {{ canary }}, which",
            ),
            ("<1 http://p up{v=\"{{ version\"}", "not closed by }}"),
        ] {
            let problem = MetricLimit::parse(text).unwrap_err();
            assert!(problem.contains(part), "{text}: {problem}");
            assert!(!problem.contains("secret"), "{problem}");
        }
        let long = format!("<1 http://p {}", "x".repeat(MetricLimit::BYTES_MAX));
        assert!(MetricLimit::parse(&long).is_err());
    }

    #[test]
    fn names_are_filled_in_and_windows_are_not_too_short() {
        let filling = Filling {
            version: 7,
            stable_version: Some(5),
            job: "shop",
            group: "web",
            service: "shop-http",
            window: Span::from_secs(60),
        };
        let fill = |query: &str, filling: &Filling<'_>| {
            let metric = MetricLimit::parse(&format!("<1 http://p {query}")).unwrap();
            metric.filled(filling)
        };
        assert_eq!(
            fill(
                "a{v=\"{{ version }}\",s=\"{{stable_version}}\"}[{{ window }}] {{job}}/{{ group }}/{{ service }}",
                &filling
            ),
            "a{v=\"7\",s=\"5\"}[60s] shop/web/shop-http"
        );
        let young = Filling {
            stable_version: None,
            window: Span::from_secs(2),
            ..filling
        };
        assert_eq!(fill("{{ stable_version }}[{{ window }}]", &young), "[15s]");
    }

    #[test]
    fn a_value_is_beyond_a_limit_or_not() {
        let metric = MetricLimit::parse(">1,<5 http://p up").unwrap();
        let found = [0.5, 1.0, 5.0, 5.5].map(|value| metric.beyond(value));
        let expected = [
            Some(Beyond::Below(1.0)),
            None,
            None,
            Some(Beyond::Above(5.0)),
        ];
        assert_eq!(found, expected);
    }
}
