package main

import (
	crypto "crypto/rand"
	"encoding/hex"
	"fmt"
	"math/rand"
)

func main() {
	drawn := make([]byte, 8)
	if _, err := crypto.Read(drawn); err != nil {
		panic(err)
	}
	fmt.Println("crypto/rand =", hex.EncodeToString(drawn))
	fmt.Println("math/rand =", rand.Uint64())
}
