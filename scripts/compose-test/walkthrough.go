//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const walkThroughPage = "docs/walk-through.md"

// A page is Markdown whose blocks of sh are commands, each with the block of text after it, if one
// follows at once, as what they print.
var commandBlock = regexp.MustCompile("(?ms)^```sh\n(.*?\n)```\n(?:\n```text\n(.*?\n)```\n)?")

// defaultPorts are those that the page speaks of.
var defaultPorts = map[string]string{
	"KAFKA_PORT": "9092", "FAKE_PORT": "9401", "ADMIN_PORT": "9402", "ADMIN_PORT_2": "9403", "ADMIN_PORT_3": "9404",
	"REDIS_PORT": "6379", "PROMETHEUS_PORT": "9090", "GRAFANA_PORT": "3000",
}

// walkThrough executes the page's commands in one shell, in order. Each must succeed, and print
// something where the page shows that it does. With -walk-through the page gets what they print.
func (t *test) walkThrough(ctx context.Context) (err error) {
	page, err := os.ReadFile(walkThroughPage)
	if err != nil {
		return err
	}
	t.setting("SIMULATE_COUNT", "432000")
	t.setting("SIMULATE_RATE", "10")
	t.setting("SIMULATE_SEED", "1")
	t.setting("SIMULATE_POISON", "0.01")
	shell, err := t.newShell(ctx)
	if err != nil {
		return err
	}
	defer shell.close()
	var rewritten bytes.Buffer
	last := 0
	if t.write { // also what was printed before a failure
		defer func() {
			rewritten.Write(page[last:])
			err = errors.Join(err, os.WriteFile(walkThroughPage, rewritten.Bytes(), 0o644))
		}()
	}
	for _, at := range commandBlock.FindAllSubmatchIndex(page, -1) {
		said, err := shell.run(ctx, string(page[at[2]:at[3]]))
		if err != nil {
			return err
		}
		if at[4] < 0 {
			continue
		}
		if strings.TrimSpace(said) == "" {
			return fmt.Errorf("the page shows what this prints, and it printed nothing:\n%s", page[at[2]:at[3]])
		}
		if strings.Contains(said, "```") {
			return fmt.Errorf("what this prints would end the page's block:\n%s\n%s", page[at[2]:at[3]], said)
		}
		rewritten.Write(page[last:at[4]])
		rewritten.WriteString(said)
		last = at[5]
	}
	if last == 0 {
		return fmt.Errorf("%s shows no output", walkThroughPage)
	}
	return nil
}

// setting sets a variable of the compose file.
func (t *test) setting(name, value string) {
	for i, v := range t.env {
		if strings.HasPrefix(v, name+"=") {
			t.env[i] = name + "=" + value
			return
		}
	}
	t.env = append(t.env, name+"="+value)
}

// shell is a bash that executes blocks one after the other; variables stay.
type shell struct {
	in    io.WriteCloser
	lines *bufio.Reader
	dir   string
	ports ports
	wait  func() error
	n     int
}

// newShell starts it with docker compose in its path, whatever compose there is.
func (t *test) newShell(ctx context.Context) (*shell, error) {
	bin := t.path("bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	env := t.env
	if len(t.compose) == 1 {
		docker, err := t.output(ctx, "sh", "-c", "command -v docker")
		if err != nil {
			return nil, err
		}
		shim := "#!/bin/sh\nif [ \"$1\" = compose ]; then shift; exec docker-compose \"$@\"; fi\nexec " + strings.TrimSpace(docker) + " \"$@\"\n"
		if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(shim), 0o755); err != nil {
			return nil, err
		}
		env = append(env, "PATH="+bin+":"+os.Getenv("PATH"))
	}
	cmd := t.command(ctx, "bash", "--noprofile", "--norc", "-E", "-o", "pipefail")
	cmd.Env = slices.Concat(env, []string{"COMPOSE_PROGRESS=quiet", "COMPOSE_ANSI=never", "NO_COLOR=1"})
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return &shell{in: in, lines: bufio.NewReader(r), dir: t.dir, ports: t.ports, wait: cmd.Wait}, nil
}

func (s *shell) close() {
	s.in.Close()
	_ = s.wait() // what failed was said by run
}

const endOfBlock = "--- end of block, status "

// run executes a block and gives what it printed. Any command of it that fails is an error.
func (s *shell) run(ctx context.Context, block string) (string, error) {
	s.n++
	file := filepath.Join(s.dir, fmt.Sprintf("block-%d.sh", s.n))
	if err := os.WriteFile(file, []byte(s.here(block)), 0o600); err != nil {
		return "", err
	}
	first, _, _ := strings.Cut(strings.TrimSpace(block), "\n")
	began := time.Now()
	_, err := fmt.Fprintf(s.in, "block_failed=0; trap 'block_failed=$?' ERR; . %s </dev/null; trap - ERR; printf '\\n%s%%s\\n' $block_failed\n", file, endOfBlock)
	if err != nil {
		return "", err
	}
	var said strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if status, is := strings.CutPrefix(line, endOfBlock); is {
			text := s.there(tidy(said.String()))
			if n, _ := strconv.Atoi(strings.TrimSpace(status)); n != 0 {
				return "", fmt.Errorf("status %d:\n%s\n%s", n, block, text)
			}
			say("%4.1f s  %s", time.Since(began).Seconds(), first)
			return text, nil
		}
		said.WriteString(line)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return "", fmt.Errorf("%w:\n%s\n%s", err, block, said.String())
		}
	}
}

// here puts the ports of this run in place of those of the page, there puts them back.
func (s *shell) here(text string) string {
	for name, port := range defaultPorts {
		text = strings.ReplaceAll(text, "127.0.0.1:"+port, "127.0.0.1:"+strconv.Itoa(s.ports[name]))
	}
	return text
}

func (s *shell) there(text string) string {
	for name, port := range defaultPorts {
		text = strings.ReplaceAll(text, ":"+strconv.Itoa(s.ports[name]), ":"+port)
	}
	return strings.ReplaceAll(text, project, "eventworker")
}

// composeNoise are lines in which compose tells of its own doings, which each generation words
// differently.
var composeNoise = regexp.MustCompile(`(?m)^( ?(Container|Network|Volume|Image|service) .*|(Creating|Starting|Stopping|Recreating|Removing|Restarting|Pulling|Going to) .*|\S+ is up-to-date)\n`)

// tidy removes compose's noise, spaces at the ends of lines, and empty lines at both ends.
func tidy(said string) string {
	said = composeNoise.ReplaceAllString(said, "")
	lines := strings.Split(said, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " \t\r")
	}
	text := strings.Trim(strings.Join(lines, "\n"), "\n")
	if text == "" {
		return ""
	}
	return text + "\n"
}
