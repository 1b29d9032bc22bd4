#include "webhook/url_check.h"

#include <gtest/gtest.h>

namespace forkbox::webhook {
namespace {

std::string Refusal(std::string_view url, const AddressGuard& guard = {}) {
  const auto checked = CheckWebhookUrl(url, guard);
  if (checked) return "";
  EXPECT_EQ(checked.error().code, ErrorCode::kInvalidArgument);
  const std::string prefix = "webhook_url: ";
  EXPECT_EQ(checked.error().message.find(prefix), 0U);
  return checked.error().message.substr(prefix.size());
}

TEST(UrlCheckTest, TakesUrlsOfThePublicInternet) {
  for (const char* const url :
       {"https://example.com", "http://example.com/", "HTTPS://EXAMPLE.COM/Hook?a=b&c=%20#part",
        "https://example.com:8443/a/b", "http://example.com:/", "http://1.1.1.1/", "http://1.1/",
        "http://[2606:4700:4700::1111]:80/x", "http://example.com./", "https://a_b-c.example/",
        "https://xn--bcher-kva.example/", "https://example.com/?next=http://127.0.0.1/",
        "https://example.com/@user", "https://1password.com/", "http://16843009/"}) {
    EXPECT_EQ(Refusal(url), "") << url;
  }
  const std::string longest = "https://example.com/" + std::string(kMaxWebhookUrlBytes - 20, 'a');
  EXPECT_EQ(Refusal(longest), "");
  EXPECT_NE(Refusal(longest + "a"), "");
}

TEST(UrlCheckTest, RefusesWhatIsNoSuchUrl) {
  const std::pair<std::string, const char*> cases[] = {
      {"", "is empty"},
      {"not a url", "percent-encoded"},
      {"notaurl", "must begin"},
      {"example.com", "must begin"},
      {"//example.com", "must begin"},
      {"ftp://example.com/", "must begin"},
      {"file:///etc/passwd", "must begin"},
      {"gopher://example.com/", "must begin"},
      {"javascript:alert(1)", "must begin"},
      {"data:text/plain,x", "must begin"},
      {"httpx://example.com/", "must begin"},
      {"http:example.com", "must begin"},
      {"http:/example.com", "must begin"},
      {"http:\\\\example.com", "backslash"},
      {"http://example.com\\@evil/", "backslash"},
      {"http://", "no host"},
      {"http:///example.com", "no host"},
      {"http://:80/", "host"},
      {"http://?x", "host"},
      {"http://#x", "host"},
      {"http://user@example.com/", "user name"},
      {"http://user:secret@example.com/", "user name"},
      {"http://@example.com/", "user name"},
      {"http://:@example.com/", "user name"},
      {"http://a@b@example.com/", "user name"},
      {"http://example.com:0/", "port"},
      {"http://example.com:65536/", "port"},
      {"http://example.com:99999999999/", "port"},
      {"http://example.com:-1/", "port"},
      {"http://example.com:+80/", "port"},
      {"http://example.com:80x/", "port"},
      {"http://example.com:80:80/", "port"},
      {" http://example.com/", "percent-encoded"},
      {"http://example.com/ ", "percent-encoded"},
      {"http://exa mple.com/", "percent-encoded"},
      {"http://example.com/a\tb", "percent-encoded"},
      {"http://example.com/a\r\nHost: evil", "percent-encoded"},
      {"http://example.com/\n", "percent-encoded"},
      {"http://example.com/\x7F", "percent-encoded"},
      {std::string("http://example.com/\0x", 21), "percent-encoded"},
      {"http://b\xC3\xBC"
       "cher.example/",
       "punycode"},
      {"http://\xE2\x91\xA0\xE2\x91\xA1\xE2\x91\xA6.0.0.1/", "punycode"},  // circled 127
      {"http://example.com/\xFF", "percent-encoded"},
      {"http://exam%00ple.com/", "host"},
      {"http://example.com%2f/", "host"},
      {"http://example.com%20/", "host"},
      {"http://a..b/", "no valid name"},
      {"http://.example.com/", "no valid name"},
      {"http://.../", "no valid name"},
      {"http://exa$mple.com/", "host"},
      {"http://exa*mple.com/", "host"},
      {"http://" + std::string(64, 'a') + ".example/", "no valid name"},
      {"http://" + std::string(250, 'a') + ".com/", "no valid name"},
      {"http://[::1", "host"},
      {"http://[]/", "host"},
      {"http://[::g]/", "host"},
      {"http://[v1.x]/", "host"},
      {"http://[fe80::1%25eth0]/", "zone"},
      {"http://[fe80::1%eth0]/", "zone"},
      {"http://[2606:4700:4700::1111%25eth0]/", "zone"},
      {"http://1.2.3.4.5/", "no valid address"},
      {"http://256.1.1.1/", "no valid address"},
      {"http://09.1.1.1/", "no valid address"},
      {"http://4294967296/", "no valid address"},
      {"http://0x100000000/", "no valid address"},
      {"http://1.0x.1/", "no valid address"},
      {"http://example.0x/", "no valid address"},
  };
  for (const auto& [url, why] : cases) {
    EXPECT_NE(Refusal(url).find(why), std::string::npos) << url << ": " << Refusal(url);
  }
}

TEST(UrlCheckTest, SeesARefusedAddressInEverySpelling) {
  for (const char* const url : {"http://127.0.0.1/",
                                "http://127.1/",
                                "http://0x7f.1/",
                                "http://0177.0.0.1/",
                                "http://2130706433/",
                                "http://0x7f000001/",
                                "http://017700000001/",
                                "http://127.0.0.1./",
                                "http://127.0.0.0x1/",
                                "http://%31%32%37.0.0.1/",
                                "http://0/",
                                "http://0.0.0.0/",
                                "http://10.0.0.1:8080/",
                                "http://169.254.169.254/latest/meta-data/",
                                "http://2852039166/",
                                "http://[::1]/",
                                "http://[0:0:0:0:0:0:0:1]/",
                                "http://[::]/",
                                "http://[::ffff:127.0.0.1]/",
                                "http://[::ffff:7f00:1]/",
                                "http://[::127.0.0.1]/",
                                "http://[64:ff9b::7f00:1]/",
                                "http://[2002:7f00:1::]/",
                                "http://[fd00:ec2::254]/",
                                "http://[fe80::1]/",
                                "https://192.168.1.1:443/"}) {
    EXPECT_NE(Refusal(url).find("may not be sent to"), std::string::npos)
        << url << ": " << Refusal(url);
  }
}

TEST(UrlCheckTest, KnowsTheNamesOfThisMachineAndItsNetwork) {
  for (const char* const url :
       {"http://localhost/", "http://LOCALHOST:8080/", "http://localhost./", "http://a.localhost/",
        "http://localhost.localdomain/", "http://%6cocalhost/"}) {
    EXPECT_EQ(Refusal(url), "the host is this machine") << url;
  }
  for (const char* const url : {"http://printer.local/", "http://metadata.google.internal/",
                                "http://METADATA.google.Internal./"}) {
    EXPECT_EQ(Refusal(url), "the host is a name of a private network") << url;
  }
  for (const char* const url : {"http://localhost.example.com/", "http://notlocalhost/"}) {
    EXPECT_EQ(Refusal(url), "") << url;
  }
}

TEST(UrlCheckTest, TheGuardMakesExceptions) {
  const auto loopback = *AddressGuard::Parse("127.0.0.0/8");
  for (const char* const url : {"http://127.0.0.1:9/", "http://0x7f.1/", "http://localhost/",
                                "http://a.local/", "http://b.internal/"}) {
    EXPECT_EQ(Refusal(url, loopback), "") << url;
  }
  EXPECT_NE(Refusal("http://10.0.0.1/", loopback), "");
  EXPECT_NE(Refusal("http://[::1]/", loopback), "");
  EXPECT_NE(Refusal("http://localhost/", *AddressGuard::Parse("10.0.0.0/8")), "");
  EXPECT_EQ(Refusal("http://b.internal/", *AddressGuard::Parse("10.0.0.0/8")), "");
}

TEST(UrlCheckTest, TellsTheHostForLogs) {
  EXPECT_EQ(WebhookHost("https://Example.COM:8443/secret?token=1"), "example.com");
  EXPECT_EQ(WebhookHost("http://0x7f.1/"), "127.0.0.1");
  EXPECT_EQ(WebhookHost("http://[::1]:80/"), "[::1]");
  EXPECT_EQ(WebhookHost("nonsense nonsense"), "");
  EXPECT_EQ(WebhookHost(""), "");
}

}  // namespace
}  // namespace forkbox::webhook
