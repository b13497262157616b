package bus

import (
	"context"
	"strings"
)

// one reads a single object.
func (o *objects[T]) one(ctx context.Context, key string) (*T, error) {
	list, err := o.publish(ctx, []string{key}, nil)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0:
		return nil, o.unknown(key)
	}
	return &list[0], nil
}

func (o *objects[T]) unknown(key string) error {
	return busError(errUnknownObject, "there is no controller %q", key)
}

// managed is the reply of GetManagedObjects.
func (o *objects[T]) managed(ctx context.Context) ([]any, error) {
	list, err := o.publish(ctx, nil, nil)
	if err != nil {
		return nil, err
	}
	reply, total := make(managedObjects, len(list)), 0
	for i := range list {
		path, values := o.path(o.key(&list[i])), o.values(&list[i])
		if total += len(path) + len(o.iface) + 4*stringOverhead + values.size(); total > MaxReply {
			return nil, busError(errLimitsExceeded, "the list of objects is larger than %d MiB: ask %s.GetAll for one at a time", MaxReply>>20, properties)
		}
		reply[i] = managedObject{path, interfaceList{{o.iface, values}}}
	}
	return []any{reply}, nil
}

// list names the objects, for introspection.
func (o *objects[T]) list(ctx context.Context) (string, error) {
	list, err := o.publish(ctx, nil, nil)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("<node>\n")
	for i := range list {
		b.WriteString("  <node name=\"" + pathElement(o.key(&list[i])) + "\"/>\n")
	}
	b.WriteString("</node>\n")
	return b.String(), nil
}
