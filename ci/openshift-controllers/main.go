// Command openshift-controllers plays stories on OpenShift's own encryption controllers and tells what they do.
//
// A story is lines of text on standard input, one step a line, and a line "." at its end. What came of it goes to
// standard output as JSON, one object a line, with a line "." at its end too. Stories follow each other in one process
// and share nothing. The program ends with its input.
//
// There is no cluster behind it and nothing runs by itself: clients are client-go's fakes, and each controller is called
// when its turn comes, on caches that were filled a moment before. With the argument "sources" it prints the files that
// it was made from and ends.
package main

import (
	"bufio"
	"embed"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"
)

// patience is how long one step may take. A controller that hangs ends the program, which its caller sees.
const patience = 2 * time.Minute

//go:embed *.go go.mod kms.patch
var sources embed.FS

func main() {
	debug.SetGCPercent(400) // stories are short, and their worlds small
	var err error
	switch {
	case len(os.Args) == 1:
		err = play()
	case len(os.Args) == 2 && os.Args[1] == "sources":
		err = printSources()
	default:
		err = fmt.Errorf("usage: openshift-controllers [sources] <STORIES >LINES")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "openshift-controllers:", err)
		os.Exit(1)
	}
}

func play() error {
	out := bufio.NewWriter(os.Stdout)
	in := bufio.NewScanner(os.Stdin)
	c := newCluster(out)
	for in.Scan() {
		text := strings.TrimSpace(in.Text())
		if text == "" {
			continue
		}
		if text != "." {
			watchdog := time.AfterFunc(patience, func() {
				fmt.Fprintf(os.Stderr, "openshift-controllers: step %q is not done after %v\n", text, patience)
				os.Exit(1)
			})
			err := c.play(text)
			watchdog.Stop()
			if err != nil {
				return fmt.Errorf("step %q: %w", text, err)
			}
			continue
		}
		fmt.Fprintln(out, ".")
		if err := out.Flush(); err != nil {
			return err
		}
		c = newCluster(out)
	}
	return in.Err()
}

func printSources() error {
	files, err := sources.ReadDir(".")
	if err != nil {
		return err
	}
	for _, f := range files {
		text, err := sources.ReadFile(f.Name())
		if err != nil {
			return err
		}
		fmt.Printf("== %s\n%s", f.Name(), text)
	}
	return nil
}
