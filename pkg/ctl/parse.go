package ctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/stas-go/stas/pkg/bus"
)

// maxDepth bounds the nesting of an answer; real ones have four levels.
const maxDepth = 32

// parse reads a JSON text, objects as [bus.Object] in their order and arrays as []any.
func parse(text string) (any, error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot understand the answer: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("cannot understand the answer: there is something behind its end")
	}
	return v, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("more than %d levels deep", maxDepth)
	}
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		o := bus.Object{}
		for d.More() {
			name, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			o = append(o, bus.Member{Name: name.(string), Value: v})
		}
		_, err = d.Token()
		return o, err
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := parseValue(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = d.Token()
		return list, err
	}
	if n, ok := token.(json.Number); ok {
		return json.RawMessage(n), nil
	}
	return token, nil
}

// lookup gives the member of that name, nil when there is none.
func lookup(o bus.Object, name string) any {
	for _, m := range o {
		if m.Name == name {
			return m.Value
		}
	}
	return nil
}

// text gives the member of that name when it is a string.
func text(o bus.Object, name string) string {
	s, _ := lookup(o, name).(string)
	return s
}
