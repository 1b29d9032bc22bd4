#include "runner/sandbox/forkserver/config.h"

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

void WriteTexts(WireWriter& out, const std::vector<std::string>& texts) {
  out.U32(static_cast<std::uint32_t>(texts.size()));
  for (const auto& text : texts) out.Text(text);
}

std::vector<std::string> ReadTexts(WireReader& in) {
  std::vector<std::string> texts;
  for (std::uint32_t n = in.Count(4); n > 0; --n) texts.emplace_back(in.Text());
  return texts;
}

}  // namespace

std::string ForkserverConfig::Encode() const {
  WireWriter out;
  out.U32(uid_base);
  out.U32(uid_count);
  out.U32(privileged ? 1 : 0);
  out.U32(static_cast<std::uint32_t>(templates.size()));
  for (const TemplateSpec& spec : templates) {
    out.Text(spec.name);
    WriteTexts(out, spec.command);
    WriteTexts(out, spec.env);
    out.U32(spec.lazy ? 1 : 0);
  }
  out.U32(static_cast<std::uint32_t>(binds.size()));
  for (const BindSpec& bind : binds) {
    out.Text(bind.source);
    out.Text(bind.target);
  }
  return out.bytes();
}

std::optional<ForkserverConfig> ForkserverConfig::Decode(std::string_view bytes) {
  WireReader in(bytes);
  ForkserverConfig config;
  config.uid_base = in.U32();
  config.uid_count = in.U32();
  config.privileged = in.U32() != 0;
  for (std::uint32_t n = in.Count(16); n > 0; --n) {
    TemplateSpec spec;
    spec.name = in.Text();
    spec.command = ReadTexts(in);
    spec.env = ReadTexts(in);
    spec.lazy = in.U32() != 0;
    config.templates.push_back(std::move(spec));
  }
  for (std::uint32_t n = in.Count(8); n > 0; --n) {
    BindSpec bind;
    bind.source = in.Text();
    bind.target = in.Text();
    config.binds.push_back(std::move(bind));
  }
  if (!in.AtEnd()) return std::nullopt;
  return config;
}

}  // namespace forkbox::sandbox
