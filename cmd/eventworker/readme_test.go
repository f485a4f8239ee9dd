package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var (
	readmeMessages = regexp.MustCompile("(?s)```json\n(\\{\"type\".*?)```")
	readmeCheck    = regexp.MustCompile(`(?m)^eventworker (check messages\.jsonl .*)$`)
	readmeSays     = regexp.MustCompile("(?s)```text\n(line 3, clicked\n.*?)```")
)

// A reader who does what the README says sees what it says.
func TestMessagesOfTheREADMEAreTaken(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	messages, command, says := readmeMessages.FindSubmatch(readme), readmeCheck.FindSubmatch(readme), readmeSays.FindSubmatch(readme)
	if messages == nil || command == nil || says == nil {
		t.Fatalf("the README lacks messages, the command or what it prints: %q %q %q", messages, command, says)
	}
	inDir(t, map[string]string{"messages.jsonl": string(messages[1])})
	r := call(t, nil, strings.Fields(string(command[1]))...)
	if r.code != exitOK || !strings.Contains(r.out, string(says[1])) {
		t.Errorf("exit code %d\n%s\n%s", r.code, r.out, r.err)
	}
}
