package bus

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Object is a JSON object whose members keep their order, which JSON made of a Go map
// would not.
type Object []Member

// Member is one member of an [Object]. Value is a string, bool, number, nil, []string,
// Object, []Object, json.RawMessage (which must be valid JSON) or []any of these.
type Member struct {
	Name  string
	Value any
}

// MarshalJSON implements [json.Marshaler].
func (o Object) MarshalJSON() ([]byte, error) { return appendJSON(nil, o) }

// String is the JSON text of o.
func (o Object) String() string {
	b, err := appendJSON(nil, o)
	if err != nil {
		return strconv.Quote(err.Error())
	}
	return string(b)
}

// JSON is the JSON text of v, which is of a kind that [Member] allows.
func JSON(v any) ([]byte, error) { return appendJSON(nil, v) }

func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case string:
		return appendJSONString(b, v), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case Object:
		return appendJSONObject(b, v)
	case []Field:
		return appendJSONFields(b, v), nil
	case json.RawMessage:
		return append(b, v...), nil
	case []string:
		return appendJSONArray(b, v)
	case []Object:
		return appendJSONArray(b, v)
	case []any:
		return appendJSONArray(b, v)
	case int, int64, uint64, uint32, uint16, float64:
		n, err := json.Marshal(v)
		return append(b, n...), err
	}
	return b, fmt.Errorf("cannot write a %T as JSON", v)
}

func appendJSONArray[T any](b []byte, list []T) ([]byte, error) {
	b = append(b, '[')
	var err error
	for i, v := range list {
		if i > 0 {
			b = append(b, ", "...)
		}
		if b, err = appendJSON(b, any(v)); err != nil {
			return b, err
		}
	}
	return append(b, ']'), nil
}

func appendJSONObject(b []byte, o Object) ([]byte, error) {
	b = append(b, '{')
	var err error
	for i, m := range o {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(appendJSONString(b, m.Name), ": "...)
		if b, err = appendJSON(b, m.Value); err != nil {
			return b, fmt.Errorf("member %q: %w", m.Name, err)
		}
	}
	return append(b, '}'), nil
}

func appendJSONFields(b []byte, fields []Field) []byte {
	b = append(b, '{')
	for i, f := range fields {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = append(appendJSONString(b, f.Name), ": "...)
		b = appendJSONString(b, f.Value)
	}
	return append(b, '}')
}

const hexDigits = "0123456789abcdef"

// appendJSONString quotes s (RFC 8259, section 7). What is not UTF-8 becomes U+FFFD and
// so does NUL, which would be fine in JSON but ends a string for many a reader.
func appendJSONString(b []byte, s string) []byte {
	s = clean(s)
	b = append(b, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c != 0x7f {
			continue
		}
		b = append(b, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
