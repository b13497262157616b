package ctl

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stas-go/stas/pkg/bus"
)

// tree prints an object as indented lines "name  value", names of one level aligned.
func tree(b *strings.Builder, o bus.Object, indent string) {
	width := 0
	for _, m := range o {
		if !nested(m.Value) {
			width = max(width, len(m.Name))
		}
	}
	for _, m := range o {
		name := indent + printable(m.Name)
		switch v := m.Value.(type) {
		case bus.Object:
			if len(v) > 0 {
				b.WriteString(name + "\n")
				tree(b, v, indent+"  ")
				continue
			}
		case []any:
			if len(v) > 0 {
				b.WriteString(name + "\n")
				for _, item := range v {
					b.WriteString(indent + "  - " + scalar(item) + "\n")
				}
				continue
			}
		}
		fmt.Fprintf(b, "%-*s  %s\n", width+len(indent), name, scalar(m.Value))
	}
}

func nested(v any) bool {
	switch v := v.(type) {
	case bus.Object:
		return len(v) > 0
	case []any:
		return len(v) > 0
	}
	return false
}

func scalar(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case string:
		if v == "" {
			return "-"
		}
		return printable(v)
	case bool:
		if v {
			return "yes"
		}
		return "no"
	case json.RawMessage:
		return printable(string(v))
	case bus.Object:
		if len(v) == 0 {
			return "-"
		}
		return printable(v.String())
	case []any:
		if len(v) == 0 {
			return "-"
		}
	}
	return printable(fmt.Sprint(v))
}
