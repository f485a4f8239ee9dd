// Command config-reference writes docs/configuration.md from the source of internal/config: the keys
// in their order, their defaults, their environment variables, and the comments of their fields.
// With -check it says whether the page is what it would write, and exits with 1 if not.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
)

const (
	source = "internal/config/config.go"
	page   = "docs/configuration.md"
)

func main() {
	check := flag.Bool("check", false, "only say whether the page is up to date")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "config-reference:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	code, err := os.ReadFile(source)
	if err != nil {
		return fmt.Errorf("%w; run it from the top of the repository", err)
	}
	made, err := reference(code)
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(page, made, 0o644)
	}
	there, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	if !bytes.Equal(made, there) {
		return fmt.Errorf("%s is not what %s says; run: go run ./scripts/config-reference", page, source)
	}
	return nil
}
