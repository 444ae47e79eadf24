// HTTP/1.1, and HTTP/2 over TLS, by Go's net/http: PLAIN TLS CA.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
)

func check(what string, found, expected any) {
	if found != expected {
		fmt.Fprintf(os.Stderr, "%s: %v and not %v\n", what, found, expected)
		os.Exit(1)
	}
}

func ask(client *http.Client, request *http.Request) (*http.Response, string) {
	answer, err := client.Do(request)
	check(request.URL.String(), err, nil)
	body, err := io.ReadAll(answer.Body)
	check("the body of "+request.URL.String(), err, nil)
	answer.Body.Close()
	return answer, string(body)
}

func get(client *http.Client, url string) (*http.Response, string) {
	request, _ := http.NewRequest("GET", url, nil)
	return ask(client, request)
}

func main() {
	plain, secure := os.Args[1], os.Args[2]
	authority, _ := os.ReadFile(os.Args[3])
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}}
	for base, major := range map[string]int{plain: 1, secure: 2} {
		for n := 0; n < 20; n++ {
			answer, body := get(client, base+"/")
			check("GET", body, "blue")
			check("the version", answer.ProtoMajor, major)
		}
		var all sync.WaitGroup
		for n := 0; n < 30; n++ {
			all.Add(1)
			go func() {
				defer all.Done()
				_, body := get(client, base+"/")
				check("at once", body, "blue")
			}()
		}
		all.Wait()
		large := strings.Repeat("z", 1<<20)
		request, _ := http.NewRequest("POST", base+"/echo", bytes.NewReader([]byte(large)))
		_, body := ask(client, request)
		check("a large body", body == large, true)
		reader, writer := io.Pipe()
		go func() {
			for n := 0; n < 100; n++ {
				fmt.Fprintf(writer, "part %02d\n", n)
			}
			writer.Close()
		}()
		request, _ = http.NewRequest("POST", base+"/echo", reader)
		request.Trailer = http.Header{"X-Mine": []string{"7"}}
		answer, body := ask(client, request)
		check("a streamed body", len(body), 800)
		check("its trailer", answer.Trailer.Get("X-Mine"), "7")
		answer, _ = get(client, base+"/trailers")
		check("trailers", answer.Trailer.Get("X-Sum"), "17")
	}
	fmt.Println("done")
}
