// Values as JSON that keeps their types.

package oracle

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/netip"
	"net/url"
	"sort"
	"strconv"
	"time"

	"github.com/blang/semver/v4"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/api/resource"
)

// encode writes a value with its type: an object of one member, whose name is the type. CEL knows int from uint from
// double and null from absent; plain JSON does not.
func encode(value ref.Val) any {
	tagged := func(kind string, content any) any { return map[string]any{kind: content} }
	switch known := value.(type) {
	case types.Null:
		return tagged("null", nil)
	case types.Bool:
		return tagged("bool", bool(known))
	case types.Int:
		return tagged("int", int64(known))
	case types.Uint:
		return tagged("uint", uint64(known))
	case types.Double:
		// As text, because JSON has no infinity, no NaN and no negative zero.
		return tagged("double", strconv.FormatFloat(float64(known), 'g', -1, 64))
	case types.String:
		return tagged("string", string(known))
	case types.Bytes:
		return tagged("bytes", base64.StdEncoding.EncodeToString(known))
	case types.Timestamp:
		return tagged("timestamp", known.Time.UTC().Format(time.RFC3339Nano))
	case types.Duration:
		return tagged("duration", known.Duration.Nanoseconds())
	case *types.Type:
		return tagged("type", known.TypeName())
	case *types.Optional:
		if !known.HasValue() {
			return tagged("optional", nil)
		}
		return tagged("optional", encode(known.GetValue()))
	case *types.Err:
		return tagged("error", known.Error())
	case traits.Mapper:
		return tagged("map", entries(known))
	case traits.Lister:
		items := []any{}
		for iterator := known.Iterator(); iterator.HasNext() == types.True; {
			items = append(items, encode(iterator.Next()))
		}
		return tagged("list", items)
	default:
		return tagged("opaque", []any{value.Type().TypeName(), opaque(value)})
	}
}

// entries are the pairs of a map ordered by their written keys, since a Go map has no order.
func entries(known traits.Mapper) any {
	pairs := [][2]any{}
	for iterator := known.Iterator(); iterator.HasNext() == types.True; {
		key := iterator.Next()
		pairs = append(pairs, [2]any{encode(key), encode(known.Get(key))})
	}
	written := func(index int) string {
		text, err := json.Marshal(pairs[index][0])
		if err != nil {
			return err.Error()
		}
		return string(text)
	}
	sort.Slice(pairs, func(left, right int) bool { return written(left) < written(right) })
	return pairs
}

// opaque is the text form of a library's own type, where it has one.
func opaque(value ref.Val) any {
	switch known := value.Value().(type) {
	case netip.Addr:
		return known.String()
	case netip.Prefix:
		return known.String()
	case *url.URL:
		return known.String()
	case *resource.Quantity:
		return known.String()
	case semver.Version:
		return known.String()
	default:
		return fmt.Sprintf("%T", known)
	}
}
