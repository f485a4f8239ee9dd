//go:build !linux

package main

import "syscall"

// ownGroup leaves a process in our group.
func ownGroup() *syscall.SysProcAttr { return nil }
