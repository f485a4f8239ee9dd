package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the golden files")

// write puts a configuration file into the test's directory, which becomes the working directory, so
// that places read config.yaml(line,col).
func write(t *testing.T, content string) string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.yaml", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return "config.yaml"
}

func problemsOf(t *testing.T, err error) []string {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an *Error", err)
	}
	return strings.Split(e.Error(), "\n")
}

func TestDefaultsAreValid(t *testing.T) {
	if err := Default().Validate(false); err != nil {
		t.Error(err)
	}
	loaded, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want, got := Default(), loaded.Config
	got.Insights.Applications = map[string]Application{DefaultApplication: {Indices: []string{}}}
	if !reflect.DeepEqual(&got, want) {
		t.Errorf("nothing loaded gives\n%+v\nwant the defaults\n%+v", got, want)
	}
}

// The YAML of the contract, with its defaults, is the documentation of the type: both must agree.
func TestPrintedDefaultsMatchTheContract(t *testing.T) {
	loaded, err := Load(Sources{})
	if err != nil {
		t.Fatal(err)
	}
	var printed bytes.Buffer
	if err := loaded.Print(&printed, "yaml", false); err != nil {
		t.Fatal(err)
	}
	contract, err := os.ReadFile("testdata/contract.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var got, want map[string]any
	if err := yaml.Unmarshal(printed.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(contract, &want); err != nil {
		t.Fatal(err)
	}
	if g, w := text(flatMap("", got)), text(flatMap("", want)); g != w {
		t.Errorf("printed\n%s\ncontract\n%s", g, w)
	}
}

func flatMap(prefix string, m map[string]any) map[string]any {
	flat := map[string]any{}
	for k, v := range m {
		if child, ok := v.(map[string]any); ok {
			maps.Copy(flat, flatMap(join(prefix, k), child))
			continue
		}
		flat[join(prefix, k)] = v
	}
	return flat
}

func text(flat map[string]any) string {
	var lines []string
	for k, v := range flat {
		lines = append(lines, fmt.Sprintf("%s = %v", k, v))
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func TestLaterSourcesWin(t *testing.T) {
	file := write(t, `
kafka: {group: from-file, client_id: from-file, brokers: [file:1], topics: [a, b]}
insights:
  applications:
    shop-de: {app_id: FILE, default_index: products}
delivery: {max_event_age: 90h}
`)
	loaded, err := Load(Sources{
		File: file,
		Env: []string{
			"EVENTWORKER_KAFKA__CLIENT_ID=from-env",
			"EVENTWORKER_KAFKA__BROKERS=one:9092, two:9092",
			"EVENTWORKER_KAFKA__TOPICS=[a, b, c]",
			"EVENTWORKER_KAFKA__SESSION_TIMEOUT=20s",
			"EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP_DE__APP_ID=ENV",
			"EVENTWORKER_INSIGHTS__EVENT_NAMES__ADDED_TO_CART=Put In",
			"EVENTWORKER_DRAIN_TIMEOUT=5s",
			"PATH=/bin", "EVENTWORKER_PAGER=less",
			"EVENTWORKER_SERVICE_HOST=10.0.0.1", "EVENTWORKER_PORT_9402_TCP_ADDR=10.0.0.1", "EVENTWORKER_ADMIN_PORT=tcp://10.0.0.1:9402",
		},
		Set: []string{"kafka.session_timeout=25s", "insights.applications.shop-de.indices=[products, books]", "store.memory=1.5GiB", "dedupe.types="},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := loaded.Config
	for _, check := range []struct{ name, got, want string }{
		{"file", c.Kafka.Group, "from-file"},
		{"environment over file", c.Kafka.ClientID, "from-env"},
		{"comma list", strings.Join(c.Kafka.Brokers, "|"), "one:9092|two:9092"},
		{"YAML list", strings.Join(c.Kafka.Topics, "|"), "a|b|c"},
		{"--set over environment", c.Kafka.SessionTimeout.String(), "25s"},
		{"map through the environment", c.Insights.Applications["shop-de"].AppID, "ENV"},
		{"map keeps the file's other keys", c.Insights.Applications["shop-de"].DefaultIndex, "products"},
		{"list of a map through --set", strings.Join(c.Insights.Applications["shop-de"].Indices, "|"), "products|books"},
		{"camel case through the environment", c.Insights.EventNames.AddedToCart, "Put In"},
		{"default stays", c.Insights.EventNames.Shown, "Recommended Products Viewed"},
		{"top level", c.DrainTimeout.String(), "5s"},
		{"size", c.Store.Memory.String(), "1536MiB"},
		{"emptied list", fmt.Sprint(c.Dedupe.Types), "[]"},
		{"applications of the file replace the default one", fmt.Sprint(len(c.Insights.Applications)), "1"},
		{"origin file", string(loaded.Origin("kafka.group")), "config.yaml(2,16)"},
		{"origin environment", string(loaded.Origin("kafka.client_id")), "env EVENTWORKER_KAFKA__CLIENT_ID"},
		{"origin --set", string(loaded.Origin("kafka.session_timeout")), "--set"},
		{"origin default", string(loaded.Origin("kafka.replay_topic")), "default"},
	} {
		if check.got != check.want {
			t.Errorf("%s: got %q, want %q", check.name, check.got, check.want)
		}
	}
}

func TestApplicationsThroughTheEnvironmentAlone(t *testing.T) {
	loaded, err := Load(Sources{ForRun: true, Env: []string{
		"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__APP_ID=APP", "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=0123",
		`EVENTWORKER_INSIGHTS__APPLICATIONS={"books": {"app_id": "BOOKS", "api_key": "k"}}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	apps := loaded.Insights.Applications
	if key, err := apps["default"].ReadKey(); err != nil || key != "0123" || apps["default"].AppID != "APP" {
		t.Errorf("default: %+v, key error %v", apps["default"], err)
	}
	if apps["books"].AppID != "BOOKS" || len(apps) != 2 {
		t.Errorf("got %v", apps)
	}
}

func TestEveryMistakeIsNamedAtOnceWithItsPlace(t *testing.T) {
	file := write(t, `kafka:
  brokrs: [a:1]
  brokers: localhost
  topics: [events, events, "b@d"]
  shown_topics: [other]
  session_timeout: 15
  max_fetch_bytes: 8 parsecs
  copartitioned: maybe
  start_offset: earlyest
  sasl: plain
  group: one
  group: two
insights:
  region:
  applications:
    shop: {api_key: k, api_key_file: f, app-id: X}
    "a.b": {}
batch: {max_events: 2000, max_bytes: 2MB}
delivery:
  max_in_flight: 1.5
  backoff: {multiplier: .nan}
window: 24h
log: [info]
`)
	_, err := Load(Sources{
		File: file,
		Env:  []string{"EVENTWORKER_KAFKA__BROKRS=a:1", "EVENTWORKER_BATCH__LINGER=soon", "EVENTWORKER_STORE={", "EVENTWORKER_KAFKA__GROUP__X=1"},
		Set:  []string{"kafka.groop=x", "kafka.group", "kafka.group.x=1", "tokens=plain"},
	})
	golden(t, "mistakes.txt", strings.Join(problemsOf(t, err), "\n")+"\n")
}

func TestRulesAcrossKeys(t *testing.T) {
	for _, c := range []struct {
		name string
		set  []string
		want string
	}{
		{"no region", []string{"insights.region="}, `insights.region: want one of us, de, got ""`},
		{"region not needed with an endpoint", []string{"insights.region=", "insights.endpoint=http://localhost:1"}, ""},
		{"endpoint with credentials", []string{"insights.endpoint=http://u:p@localhost:1"}, "insights.endpoint: want no credentials"},
		{"endpoint without scheme hides the password", []string{"insights.endpoint=u:p@localhost"}, `got "***@localhost"`},
		{"dead letters into an input", []string{"kafka.topics=a,b", "kafka.dead_letter_topic=b"}, "kafka.dead_letter_topic: \"b\" is also an input topic"},
		{"state topic is an input", []string{"kafka.topics=a,b.state", "kafka.dead_letter_topic=b"}, "the topic of its records' state"},
		{"replay topic is an input", []string{"kafka.replay_topic=recommendation-events"}, "kafka.replay_topic:"},
		{"replay topic is the dead-letter topic", []string{"kafka.replay_topic=x", "kafka.dead_letter_topic=x"}, "must differ from"},
		{"clicked topics are input topics", []string{"kafka.clicked_topics=zzz"}, `kafka.clicked_topics[0]: "zzz" is not among kafka.topics`},
		{"not copartitioned without redis", []string{"kafka.copartitioned=false"}, "needs store.kind redis"},
		{"not copartitioned with redis", []string{"kafka.copartitioned=false", "store.kind=redis"}, ""},
		{"drain longer than the rebalance", []string{"drain_timeout=30s"}, "must be shorter than kafka.rebalance_timeout (30s)"},
		{"fetch larger than the budget", []string{"kafka.max_fetch_bytes=128MiB"}, "must not be more than memory.budget (64MiB)"},
		{"admin server without a port", []string{"admin.listen=x"}, "admin.listen: want host:port, such as 127.0.0.1:9402,"},
		{"broker without a port", []string{"kafka.brokers=x"}, "want host:port, such as localhost:9092,"},
		{"batch of none", []string{"batch.max_events=0"}, "want 1 to 1000, got 0"},
		{"batch as large as allowed", []string{"batch.max_events=1000", "batch.max_bytes=1900000"}, ""},
		{"batch above it", []string{"batch.max_bytes=1900001"}, "want 64KiB to 1900000"},
		{"TLS files without TLS", []string{"kafka.tls.ca_file=x"}, "kafka.tls.enabled: is false"},
		{"certificate without key", []string{"kafka.tls.enabled=true", "kafka.tls.cert_file=x"}, "belong together"},
		{"credentials without mechanism", []string{"kafka.sasl.username=x"}, "kafka.sasl.mechanism: is missing"},
		{"mechanism without user", []string{"kafka.sasl.mechanism=plain"}, "kafka.sasl.username: must not be empty"},
		{"unknown mechanism", []string{"kafka.sasl.mechanism=scram-sha-265"}, "did you mean scram-sha-256?"},
		{"only an unknown application", []string{"insights.only=shop"}, "insights.only[0]"},
		{"default index not allowed", []string{"insights.applications.default.default_index=b", "insights.applications.default.indices=a"}, "not among the allowed indices (a)"},
		{"applications one variable would mean", []string{"insights.applications.a-b.app_id=A", "insights.applications.a_b.app_id=B"}, "rename one"},
		{"event name outside ASCII", []string{"insights.event_names.shown=Gesehen ü"}, "insights.event_names.shown"},
		{"unknown type", []string{"dedupe.types=bought"}, "dedupe.types[0]: want one of shown"},
		{"backoff backwards", []string{"delivery.backoff.max_interval=1ms"}, "must not be shorter than initial_interval"},
		{"broker with credentials hides them", []string{"kafka.brokers=user:pw@host:9092"}, `got "***@host:9092"`},
		{"application without a name", []string{"insights.applications..app_id=A"}, "want names of 1 to 64"},
		{"no admin server", []string{"admin.listen="}, ""},
		{"admin on any address", []string{"admin.listen=:0"}, ""},
		{"admin without port", []string{"admin.listen=localhost"}, "admin.listen: want host:port"},
		{"IPv6 broker", []string{"kafka.brokers=[::1]:9092"}, "--set kafka.brokers"},
		{"IPv6 broker in a YAML list", []string{`kafka.brokers=["[::1]:9092"]`}, ""},
		{"disk without path", []string{"store.path="}, "store.path: must not be empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Sources{Set: c.set})
			switch {
			case c.want == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestRunNeedsCredentialsAndReadableFiles(t *testing.T) {
	file := write(t, "insights: {applications: {a: {}, b: {app_id: B, api_key_file: missing}, c: {app_id: C, api_key_file: key}}, only: [a, b, c]}")
	if err := os.WriteFile("key", []byte("  s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(Sources{File: file, ForRun: true})
	golden(t, "forrun.txt", strings.Join(problemsOf(t, err), "\n")+"\n")

	if _, err := Load(Sources{File: file}); err != nil {
		t.Errorf("refused without ForRun: %v", err)
	}
	loaded, err := Load(Sources{File: file, ForRun: true, Set: []string{"insights.only=c"}})
	if err != nil {
		t.Fatalf("applications that this group does not serve need no key: %v", err)
	}
	if key, err := loaded.Insights.Applications["c"].ReadKey(); key != "s3cret" || err != nil {
		t.Errorf("key %q, %v", key, err)
	}
	if _, err := Load(Sources{File: file, ForRun: true, Set: []string{"delivery.mode=shadow", "insights.only=a"}}); err != nil {
		t.Errorf("shadow mode needs no key: %v", err)
	}
}

func TestValueThatCannotBeReadIsNotSaidToBeMissingToo(t *testing.T) {
	_, err := Load(Sources{ForRun: true, Env: []string{"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=k"}, Set: []string{"insights.applications.default={app_id: [A]}"}})
	if got := problemsOf(t, err); len(got) != 1 || got[0] != "--set insights.applications.default.app_id: want text, got a list" {
		t.Errorf("got %q", got)
	}
}

func TestSecretsNeverPrint(t *testing.T) {
	const secret = "Sup3rS3cret"
	set := []string{"insights.applications.default.app_id=A", "kafka.sasl.mechanism=plain", "kafka.sasl.username=u"}
	env := []string{"EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY=" + secret,
		"EVENTWORKER_KAFKA__SASL__PASSWORD=" + secret, "EVENTWORKER_STORE__REDIS__PASSWORD=" + secret}
	loaded, err := Load(Sources{Set: set, Env: env})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, format := range []string{"yaml", "json"} {
		if err := loaded.Print(&out, format, true); err != nil {
			t.Fatal(err)
		}
	}
	fmt.Fprintf(&out, "%v %+v %#v", loaded, loaded.Config, loaded.Config)
	asJSON, err := json.Marshal(loaded.Config)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(asJSON)
	if strings.Contains(out.String(), secret) {
		t.Error("a secret was printed")
	}
	if n := strings.Count(out.String(), redacted); n < 6 {
		t.Errorf("%d times ***, want each secret redacted", n)
	}

	const application = "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT"
	for _, bad := range [][]string{
		{application + "__API_KEY=" + secret + " x"},
		{application + "__API_KEY=" + secret, application + "__API_KEY_FILE=f"},
		{application + "={api_key: [" + secret + "]}"},
		{application + "={api_kye: " + secret + "}"},
		{"EVENTWORKER_KAFKA__SASL={password: {x: " + secret + "}}"},
	} {
		if _, err := Load(Sources{Env: bad}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("want a refusal that does not tell the secret, got %v", err)
		}
	}
}

// TestSecretsAreNotTakenFromTheCommandLine in any form: it says where they belong.
func TestSecretsAreNotTakenFromTheCommandLine(t *testing.T) {
	const secret = "Sup3rS3cret"
	for set, want := range map[string]string{
		"insights.applications.shop.api_key=":       "api_key_file, or give it as EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP__API_KEY",
		"insights.applications.shop={api_key: ":     "api_key_file, or give it as EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP__API_KEY",
		"insights={applications: {shop: {api_key: ": "api_key_file, or give it as EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP__API_KEY",
		"kafka.sasl.password=":                      "password_file, or give it as EVENTWORKER_KAFKA__SASL__PASSWORD",
		"store.redis.password=":                     "password_file, or give it as EVENTWORKER_STORE__REDIS__PASSWORD",
		"store.redis.sentinel_password=":            "sentinel_password_file, or give it as EVENTWORKER_STORE__REDIS__SENTINEL_PASSWORD",
		"admin.token=":                              "token_file, or give it as EVENTWORKER_ADMIN__TOKEN",
	} {
		_, err := Load(Sources{Set: []string{set + secret + strings.Repeat("}", strings.Count(set, "{"))}})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got %v, want %q", set, err, want)
		}
	}
	var files int
	root.leaves(func(n *node) {
		if n.kind != kindSecret {
			return
		}
		if !slices.Contains(Keys(), n.path+"_file") {
			t.Errorf("%s has no file to be named", n.path)
		}
		files++
	})
	if files != 5 {
		t.Errorf("%d secrets, want those above", files)
	}
	loaded, err := Load(Sources{Env: []string{"EVENTWORKER_ADMIN__TOKEN=" + secret}, Set: []string{"admin.token="}})
	if err != nil || loaded.Admin.Token != "" {
		t.Errorf("a secret may be taken away: %v", err)
	}
}

func TestPrintedConfigurationLoadsAgain(t *testing.T) {
	set := []string{"kafka.brokers=a:1,b:2", "insights.applications.shop.app_id=A1", "delivery.backoff.multiplier=1.5", "join.wait=90s", "kafka.group=true"}
	loaded, err := Load(Sources{Set: set})
	if err != nil {
		t.Fatal(err)
	}
	for _, origin := range []bool{false, true} {
		var out bytes.Buffer
		if err := loaded.Print(&out, "yaml", origin); err != nil {
			t.Fatal(err)
		}
		again, err := Load(Sources{File: write(t, out.String())})
		if err != nil {
			t.Fatal(err)
		}
		var second bytes.Buffer
		if err := again.Print(&second, "yaml", false); err != nil {
			t.Fatal(err)
		}
		if !origin && second.String() != out.String() {
			t.Errorf("printed\n%s\nand after loading that\n%s", out.String(), second.String())
		}
	}
}

func TestPrintSaysWhereValuesCameFrom(t *testing.T) {
	file := write(t, "kafka: {group: g}\ninsights: {applications: {default: {api_key: k}}}\n")
	loaded, err := Load(Sources{File: file, Env: []string{"EVENTWORKER_TOKENS=hash"}, Set: []string{"kafka.topics=a,b"}})
	if err != nil {
		t.Fatal(err)
	}
	var asYAML, asJSON bytes.Buffer
	if err := loaded.Print(&asYAML, "yaml", true); err != nil {
		t.Fatal(err)
	}
	golden(t, "print.yaml", asYAML.String())
	if err := loaded.Print(&asJSON, "json", true); err != nil {
		t.Fatal(err)
	}
	golden(t, "print.json", asJSON.String())
	if !json.Valid(asJSON.Bytes()) {
		t.Error("not JSON")
	}
	if err := loaded.Print(&asJSON, "toml", true); err == nil {
		t.Error("unknown format taken")
	}
}

// TestAVariableWithOneUnderscoreBetweenLevelsIsToldTheNameItMeans and what is told is a setting.
func TestAVariableWithOneUnderscoreBetweenLevelsIsToldTheNameItMeans(t *testing.T) {
	for name, want := range map[string]string{
		"EVENTWORKER_KAFKA_BROKERS":                              "EVENTWORKER_KAFKA__BROKERS",
		"EVENTWORKER_KAFKA_SASL_PASSWORD":                        "EVENTWORKER_KAFKA__SASL__PASSWORD",
		"EVENTWORKER_KAFKA__SASL_PASSWORD":                       "EVENTWORKER_KAFKA__SASL__PASSWORD",
		"EVENTWORKER_DELIVERY_BACKOFF__MAX_INTERVAL":             "EVENTWORKER_DELIVERY__BACKOFF__MAX_INTERVAL",
		"EVENTWORKER_ADMIN_LISTEN":                               "EVENTWORKER_ADMIN__LISTEN",
		"EVENTWORKER_KAFKA_BROKRS":                               "EVENTWORKER_KAFKA__BROKERS",
		"EVENTWORKER_INSIGHTS_APPLICATIONS_DEFAULT_API_KEY":      "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY",
		"EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP_DE__API_KY":    "EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP_DE__API_KEY",
		"EVENTWORKER_INSIGHTS__APPLICATIONS_SHOP_DE__API_KEY":    "EVENTWORKER_INSIGHTS__APPLICATIONS__SHOP_DE__API_KEY",
		"EVENTWORKER_INSIGHTS_APPLICATIONS_DEFAULT_API_KEY_FILE": "EVENTWORKER_INSIGHTS__APPLICATIONS__DEFAULT__API_KEY_FILE",
		"EVENTWORKER_KAFKAA":                                     "EVENTWORKER_KAFKA",
	} {
		_, err := Load(Sources{Env: []string{name + "=x"}})
		if err == nil || !strings.Contains(err.Error(), "did you mean "+want+"?") {
			t.Errorf("%s: got %v, want %s", name, err, want)
		}
	}
}

func TestFilesThatAreNoConfiguration(t *testing.T) {
	for _, c := range []struct{ name, content, want string }{
		{"empty", "", ""},
		{"comment only", "# nothing\n", ""},
		{"groups without keys", "kafka:\ninsights:\n  applications:\n    default:\n", ""},
		{"not YAML", "kafka: {\n", "config.yaml(1,1): is not YAML"},
		{"a list", "- a\n", "config.yaml(1,1): want keys below it, got a list"},
		{"two documents", "kafka: {}\n---\nkafka: {}\n", "a second document begins"},
		{"anchors and merge keys", "x: &x {}\n", "unknown key"},
		{"aliases", "kafka: &k {group: g}\n", ""},
		{"endless merge", "kafka: &k\n  group: g\n  <<: *k\n", "<< wants the alias"},
		{"too large", strings.Repeat("#", maxFile+1), "larger than 1024 KiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Sources{File: write(t, c.content)})
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	_, err := Load(Sources{File: "absent.yaml", ForRun: true})
	if got := problemsOf(t, err); got[0] != "absent.yaml: cannot be read: no such file or directory" {
		t.Error(got)
	} else if len(got) > 1 {
		t.Errorf("what may stand in the file is said to be missing: %q", got[1:])
	}
}

func TestMergeKeysShareAMapping(t *testing.T) {
	loaded, err := Load(Sources{File: write(t, `
insights:
  applications:
    a: &a {app_id: A, default_index: products}
    b: {<<: *a, app_id: B}
`)})
	if err != nil {
		t.Fatal(err)
	}
	if b := loaded.Insights.Applications["b"]; b.AppID != "B" || b.DefaultIndex != "products" {
		t.Errorf("got %+v", b)
	}
}

func TestParseSizeAndDuration(t *testing.T) {
	for in, want := range map[string]Size{"0": 0, "1900000": 1900000, "8MiB": 8 << 20, "8 MiB": 8 << 20, "64MB": 64e6, "1.5KiB": 1536, "1Gi": 1 << 30, "10b": 10} {
		if got, err := ParseSize(in); got != want || err != nil {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "MiB", "-1", "1.5", "0x10", "1e", "8 parsecs", "NaN", "Inf", "99999999TiB", "1_0"} {
		if got, err := ParseSize(in); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", in, got)
		}
	}
	for in, want := range map[string]time.Duration{"0": 0, "0s": 0, "95h": 95 * time.Hour, "4d": 96 * time.Hour, "1.5d": 36 * time.Hour, "250ms": 250 * time.Millisecond} {
		if got, err := ParseDuration(in); got != want || err != nil {
			t.Errorf("ParseDuration(%q) = %v, %v, want %v", in, got, err, want)
		}
	}
	for _, in := range []string{"", "10", "soon", "1e99d", "d", "NaNd"} {
		if got, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %v, want an error", in, got)
		}
	}
}

func TestNearestNamesOnlyWhatIsAlike(t *testing.T) {
	known := []string{"brokers", "group", "topics", "tls"}
	for in, want := range map[string]string{"brokrs": "brokers", "rgoup": "group", "TOPIC": "topics", "zzz": "", "xyz": "", "": ""} {
		if got := Nearest(in, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEveryKeyIsReachableThroughTheEnvironment(t *testing.T) {
	for _, key := range Keys() {
		path := strings.ReplaceAll(key, "*", "default")
		l := &loader{origins: map[string]Origin{}}
		levels := strings.Split(strings.TrimPrefix(EnvName(path), envPrefix), "__")
		n, at := root, ""
		for _, level := range levels {
			child, name := n.childOfEnv(level, mapNames(l.origins, at))
			if child == nil {
				t.Fatalf("%s: no key for %s", path, level)
			}
			n, at = child, join(at, name)
		}
		if at != path {
			t.Errorf("%s leads to %s, want %s", EnvName(path), at, path)
		}
	}
}

func FuzzLoadNeverPanics(f *testing.F) {
	f.Add("kafka: {brokers: [a:1]}", "EVENTWORKER_KAFKA__GROUP=x", "kafka.group=x")
	f.Add("a: &a\n  <<: *a", "EVENTWORKER_=", "=")
	f.Add("kafka: {sasl: &s {password: *s}}", "EVENTWORKER_INSIGHTS__APPLICATIONS__X____=1", "insights.applications..x=1")
	f.Fuzz(func(t *testing.T, file, env, set string) {
		name := filepath.Join(t.TempDir(), "c.yaml")
		if err := os.WriteFile(name, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		loaded, err := Load(Sources{File: name, Env: []string{env}, Set: []string{set}})
		if err != nil {
			if problemsOf(t, err)[0] == "" {
				t.Error("a problem without words")
			}
			return
		}
		if err := loaded.Print(&bytes.Buffer{}, "json", true); err != nil {
			t.Errorf("a valid configuration does not print: %v", err)
		}
	})
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join(packageDir, "testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s\nwant\n%s", name, got, want)
	}
}

var packageDir, _ = os.Getwd()
