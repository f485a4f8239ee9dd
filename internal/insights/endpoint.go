package insights

import (
	"fmt"
	"net/url"
	"strings"
)

// eventsPath is the path of the API that takes events, below the endpoint.
const eventsPath = "/1/events"

// endpointURL is the address events are posted to: the endpoint's if there is one, else the
// region's. There is no default region: the host without one routes by the caller's place, which
// for a backend decides where personal data goes (insights-api.md, section 12).
func endpointURL(endpoint, region string) (*url.URL, error) {
	if endpoint == "" {
		switch region {
		case "us", "de":
			endpoint = "https://insights." + region + ".algolia.io"
		default:
			return nil, fmt.Errorf("insights.region %q: there is us and de", region)
		}
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("insights.endpoint is not a URL; it looks like https://host:port")
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("insights.endpoint has the scheme %q; it must be https, or http in tests", u.Scheme)
	case u.Host == "":
		return nil, fmt.Errorf("insights.endpoint names no host; it looks like https://host:port")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("insights.endpoint must not hold a user, a query or a fragment")
	}
	if !strings.HasSuffix(u.Path, eventsPath) {
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/")+eventsPath, ""
	}
	return u, nil
}
