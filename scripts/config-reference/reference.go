package main

import (
	"bytes"
	"fmt"
	"strings"

	"eventworker/internal/config"
)

const head = "# Configuration\n" + `
*Made from the source by ` + "`go run ./scripts/config-reference`" + `; edit the comments there.*

Defaults, then the YAML file (` + "`--config`" + `), then the environment, then ` + "`--set kafka.brokers=…`" + `: the later one wins. In a variable's name two underscores stand
between levels. An unknown key is an error that names the nearest known one. ` + "`eventworker config check`" + ` names every mistake at once, ` + "`eventworker config print --origin`" + `
shows each value and where it came from.

Durations are written like ` + "`250ms`, `10s`, `24h` or `7d`" + `, sizes like ` + "`64MiB` or `1900000`" + `. Secrets come from the environment or from files and are never printed.
`

// reference is the page for the source of the configuration's types.
func reference(code []byte) ([]byte, error) {
	types, err := parse(code)
	if err != nil {
		return nil, err
	}
	defaults, err := defaultValues()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(head)
	section := ""
	for _, key := range config.Keys() {
		about, err := types.about(key)
		if err != nil {
			return nil, err
		}
		if s := sectionOf(key); s != section {
			section = s
			fmt.Fprintf(&b, "\n## %s\n\n%s| key, variable | default | meaning |\n| --- | --- | --- |\n", s, types.introduction(s))
		}
		name := strings.ReplaceAll(key, "*", "NAME")
		fmt.Fprintf(&b, "| `%s`<br>`%s` | %s | %s |\n", name, config.EnvName(name), defaults[key], about)
	}
	return b.Bytes(), nil
}

// sectionOf is the heading under which a key stands: its first two levels, without the last.
func sectionOf(key string) string {
	levels := strings.Split(key, ".")
	return strings.ReplaceAll(strings.Join(levels[:max(1, min(2, len(levels)-1))], "."), "*", "NAME")
}

// defaultValues are the defaults of all keys as they are written in YAML. Keys below a name that the
// user chooses have those of the application that is there by default.
func defaultValues() (map[string]string, error) {
	loaded := config.Loaded{Config: *config.Default()}
	var printed bytes.Buffer
	if err := loaded.Print(&printed, "yaml", false); err != nil {
		return nil, err
	}
	return flat(printed.Bytes())
}
