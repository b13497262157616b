package config

import "github.com/stas-go/stas/pkg/tid"

// Differing names the parameters that a and b set differently, secrets too, in the order of
// the documentation. The kernel knows flags only by their presence: unset is off.
func Differing(a, b tid.Params) []string {
	var names []string
	for i := range params {
		if params[i].differ(&a, &b) {
			names = append(names, params[i].key)
		}
	}
	return names
}

func (p *param) differ(a, b *tid.Params) bool {
	switch {
	case p.integer != nil:
		return *p.integer(a) != *p.integer(b)
	case p.flag != nil:
		return (*p.flag(a) == tid.On) != (*p.flag(b) == tid.On)
	case p.text != nil:
		return *p.text(a) != *p.text(b)
	}
	return *p.secret(a) != *p.secret(b)
}
