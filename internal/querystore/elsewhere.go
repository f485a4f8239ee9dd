package querystore

// What a store needs that keeps records elsewhere than in the impression log, in its form.

// EncodeImpression appends an impression as the log would store it. Its errors are those of
// [Section.AddImpression].
func EncodeImpression(dst, user []byte, v *Impression) ([]byte, error) {
	y, err := impressionLayout(user, v)
	if err != nil {
		return dst, err
	}
	dst, b := y.room(dst)
	y.putImpression(b, user, v)
	return dst, nil
}

// EncodeClick appends a click.
func EncodeClick(dst, user []byte, v *Click) ([]byte, error) {
	y, err := clickLayout(user, v)
	if err != nil {
		return dst, err
	}
	dst, b := y.room(dst)
	y.putClick(b, user, v)
	return dst, nil
}

// EncodeMark appends a mark.
func EncodeMark(dst, user []byte, v *Mark) ([]byte, error) {
	y := layout{kind: KindMark, user: len(user)}
	if err := y.finish(len(v.Hash)); err != nil {
		return dst, err
	}
	dst, b := y.room(dst)
	y.putMark(b, user, v)
	return dst, nil
}

// room appends the bytes that the record will fill.
func (y *layout) room(dst []byte) (all, record []byte) {
	n := len(dst)
	for range y.size / unit {
		dst = append(dst, make([]byte, unit)...)
	}
	return dst, dst[n:]
}

// Decode points the view at an encoded record, whose bytes must outlive it, and reports false where b
// is none. newest becomes NewestBelow.
func (r *Record) Decode(b []byte, newest int64) bool {
	if !r.load(b) || !r.sound() {
		return false
	}
	r.NewestBelow = newest
	return true
}
