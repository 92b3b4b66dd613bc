package main

import (
	"encoding/json"
	"slices"
	"sort"
	"strings"
)

// limit is how many rounds may pass until nothing changes any more.
const limit = 20

// line is one object of the output; what does not apply is left out.
type line struct {
	Step int    `json:"step"`
	Comp string `json:"comp,omitempty"` // the operator, where there are several
	By   string `json:"by,omitempty"`   // a controller, or "world" for the story itself
	What string `json:"what"`
	Op   string `json:"op,omitempty"`
	Name string `json:"name,omitempty"`
	Text string `json:"text,omitempty"`
	Data any    `json:"data,omitempty"`
}

func (c *cluster) write(o *operator, l line) error {
	l.Step = c.step
	if o != nil && len(c.operators) > 1 {
		l.Comp = o.name
	}
	encoder := json.NewEncoder(c.out)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(l)
}

// After these steps no controller runs.
var quiet = []string{"component", "only", "podmount", "dump", "config", "observe", "union"}

// play carries out a step. One that is not possible is a line of the story and no error.
func (c *cluster) play(text string) error {
	words := strings.Fields(text)
	if words[0] != "component" {
		c.step++
		if err := c.write(nil, line{What: "do", Text: text}); err != nil {
			return err
		}
	}
	if err := c.asOutsider(func() error { return c.do(words) }); err != nil {
		if err := c.write(nil, line{What: "note", Text: "step not possible: " + err.Error()}); err != nil {
			return err
		}
	}
	if err := c.show("world"); err != nil {
		return err
	}
	if !c.auto || slices.Contains(quiet, words[0]) {
		return nil
	}
	return c.settle()
}

// saidBefore holds in which round something was first said since the controllers last rested.
type saidBefore map[string]int

// settle calls all controllers, round after round, until one changes nothing.
func (c *cluster) settle() error {
	before := saidBefore{}
	outside := c.outside
	c.outside = false
	defer func() { c.outside = outside }()
	for round := 1; round <= limit; round++ {
		changes := c.changes
		for _, o := range c.operators {
			for _, one := range o.controllers {
				if err := c.sync(o, one, round, before); err != nil {
					return err
				}
			}
		}
		if c.changes == changes {
			return nil
		}
	}
	return c.write(nil, line{What: "note", Text: "not settled after 20 rounds"})
}

// sync calls one controller and writes what it said and changed, but for what an earlier round said already.
func (c *cluster) sync(o *operator, one controller, round int, before saidBefore) error {
	if err := c.fillCaches(); err != nil {
		return err
	}
	err, panicked := o.sync(one)
	lines := o.said.lines
	// the controllers walk over Go maps: their order means nothing
	sort.SliceStable(lines, func(a, b int) bool { return lines[a].Name+lines[a].Text < lines[b].Name+lines[b].Text })
	switch {
	case panicked != "":
		lines = append(lines, line{What: "panic", Text: panicked})
	case err != nil:
		lines = append(lines, line{What: "error", Text: err.Error()})
	}
	for _, l := range lines {
		id := strings.Join([]string{o.name, one.name, l.What, l.Text}, "|")
		if before != nil {
			if first, is := before[id]; is && first < round {
				continue
			}
			before[id] = round
		}
		l.By = one.name
		if err := c.write(o, l); err != nil {
			return err
		}
	}
	return c.show(one.name)
}

// complete lets roll-outs and migrations succeed until the controllers want nothing more.
func (c *cluster) complete() error {
	for range limit {
		changes := c.changes
		if err := c.settle(); err != nil {
			return err
		}
		for _, o := range c.operators {
			if c.rolledOut(o) {
				continue
			}
			if err := c.rollOut(o, len(o.nodes)); err != nil {
				return err
			}
		}
		if err := c.settle(); err != nil {
			return err
		}
		if err := c.finishMigrations(); err != nil {
			return err
		}
		if err := c.settle(); err != nil {
			return err
		}
		if c.changes == changes {
			return nil
		}
	}
	return c.write(nil, line{What: "note", Text: "not complete after 20 rounds"})
}
