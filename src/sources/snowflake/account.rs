//! An account in every spelling that people have of it, made into one: the host that is asked, and
//! the name that goes into a signed token.

/// The domains that accounts live under.
const DOMAINS: [&str; 2] = ["snowflakecomputing.com", "snowflakecomputing.cn"];

/// Where people copy addresses from; the organization and the account stand in its path.
const CONSOLES: [&str; 2] = ["app.snowflake.com", "app.snowflake.cn"];

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// The host of its API, in lower case.
    pub(super) host: String,
    /// What tokens call it: upper case, without region.
    pub(super) token_name: String,
}

/// A text that names no account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} names no account: write ORGANIZATION-ACCOUNT (Snowflake shows it under Account, View \
     account details), LOCATOR.REGION, or the address that your browser shows"
)]
pub(super) struct NotAnAccount(String);

impl Account {
    /// Reads `org-account`, `org.account`, `locator`, `locator.region[.cloud]`, a host below
    /// `snowflakecomputing.com`, or an address of either console.
    ///
    /// # Errors
    /// When the text is none of them.
    pub(super) fn parse(text: &str) -> Result<Self, NotAnAccount> {
        let wrong = || NotAnAccount(text.to_owned());
        let trimmed = text.trim();
        let address = ["https://", "http://"].iter().find_map(|s| trimmed.strip_prefix(s));
        let address = address.unwrap_or(trimmed);
        let (host, path) = address.split_once('/').unwrap_or((address, ""));
        let identifier = match CONSOLES.iter().any(|console| host.eq_ignore_ascii_case(console)) {
            true => console_account(path).ok_or_else(wrong)?,
            false => host.to_owned(),
        };
        let lower = identifier.to_ascii_lowercase();
        let (labels, domain) = DOMAINS
            .iter()
            .find_map(|domain| Some((lower.strip_suffix(domain)?.strip_suffix('.')?, *domain)))
            .unwrap_or((lower.as_str(), DOMAINS[0]));
        let labels: Vec<&str> = labels.split('.').collect();
        if !labels.iter().all(|label| is_label(label)) {
            return Err(wrong());
        }
        Ok(Self::of(&labels, domain))
    }

    /// An account out of the labels before its domain.
    fn of(labels: &[&str], domain: &str) -> Self {
        let (name, region) = match labels {
            // A region always has a hyphen, the name of an account never: this is ORG.ACCOUNT.
            [organization, account] if !account.contains('-') && *account != "privatelink" => {
                (format!("{organization}-{account}"), String::new())
            }
            [name, region @ ..] => {
                ((*name).to_owned(), region.iter().map(|label| format!(".{label}")).collect())
            }
            [] => (String::new(), String::new()),
        };
        let token_name = match labels.get(1) {
            Some(&"global") => name.split('-').next().unwrap_or_default().to_ascii_uppercase(),
            _ => name.to_ascii_uppercase(),
        };
        // No certificate covers a host with an underscore: Snowflake takes a hyphen in its place.
        let host = format!("{}{region}.{domain}", name.replace('_', "-"));
        Self { host, token_name }
    }
}

/// `org-account` out of the path of a console's address.
fn console_account(path: &str) -> Option<String> {
    let mut parts = path.split(['/', '?', '#']).filter(|part| !part.is_empty());
    let (first, second) = (parts.next()?, parts.next()?);
    // Old addresses have the region in front: /us-east-1/locator/.
    match first.contains('-') {
        true => Some(format!("{second}.{first}")),
        false => Some(format!("{first}-{second}")),
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 255
        && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && label.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String) {
        let account = Account::parse(text).unwrap();
        (account.host, account.token_name)
    }

    #[test]
    fn every_spelling_of_an_account_leads_to_the_same_host_and_token_name() {
        for text in [
            "myorg-sales",
            "MYORG-SALES",
            "myorg.sales",
            " myorg-sales ",
            "myorg-sales.snowflakecomputing.com",
            "https://myorg-sales.snowflakecomputing.com",
            "https://MyOrg-Sales.snowflakecomputing.com/console#/internal/worksheet",
            "https://app.snowflake.com/myorg/sales/#/homepage",
            "app.snowflake.com/myorg/sales",
        ] {
            let expected = ("myorg-sales.snowflakecomputing.com".into(), "MYORG-SALES".into());
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn a_region_is_part_of_the_host_and_not_of_the_token() {
        let locator = "xy12345.eu-central-1";
        let expected = (format!("{locator}.snowflakecomputing.com"), "XY12345".into());
        assert_eq!(parsed(locator), expected);
        assert_eq!(parsed("https://app.snowflake.com/eu-central-1/xy12345/"), expected);
        assert_eq!(
            parsed("xy12345.west-europe.azure"),
            ("xy12345.west-europe.azure.snowflakecomputing.com".into(), "XY12345".into())
        );
        assert_eq!(
            parsed("xy12345.us-east-1.privatelink.snowflakecomputing.com").0,
            "xy12345.us-east-1.privatelink.snowflakecomputing.com"
        );
        assert_eq!(parsed("org-acc.privatelink").1, "ORG-ACC");
        assert_eq!(parsed("xy1.cn-north-1.aws.snowflakecomputing.cn").0.len(), 40);
    }

    #[test]
    fn an_underscore_is_a_hyphen_in_the_host_only() {
        let expected =
            ("myorg-my-account.snowflakecomputing.com".into(), "MYORG-MY_ACCOUNT".into());
        assert_eq!(parsed("myorg-my_account"), expected);
    }

    #[test]
    fn what_cannot_be_a_host_is_refused() {
        for text in
            ["", " ", "a b", "a..b", "a@evil.example", "a:8080", "-a", "https://", "a/../b@c", "é"]
        {
            let outcome = Account::parse(text);
            let host_only =
                outcome.as_ref().is_ok_and(|account| account.host == "a.snowflakecomputing.com");
            assert!(outcome.is_err() || host_only, "{text}: {outcome:?}");
        }
    }
}
