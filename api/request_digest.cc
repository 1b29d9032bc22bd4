#include "api/request_digest.h"

#include <openssl/evp.h>

#include <array>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "schema/json.h"

namespace forkbox::api {

std::string RequestDigest(const schema::Execution& execution, std::string_view asked_isolation) {
  // Members are sorted, so one meaning has one text.
  const std::string text = schema::DumpJson({{"dialect", execution.dialect},
                                             {"language", execution.language},
                                             {"source", schema::ToJson(execution.source)},
                                             {"limits", schema::ToJson(execution.limits)},
                                             {"isolation", asked_isolation},
                                             {"delivery", schema::ToString(execution.delivery)},
                                             {"webhook_url", execution.webhook_url}});
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  FORKBOX_CHECK(
      EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr) == 1);
  constexpr char kDigits[] = "0123456789abcdef";
  std::string hex;
  for (unsigned int i = 0; i < length; ++i) {
    hex += kDigits[digest[i] >> 4];
    hex += kDigits[digest[i] & 0xF];
  }
  return hex;
}

}  // namespace forkbox::api
