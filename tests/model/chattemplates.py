"""Chat templates in the manner of model families, and how a model gets one."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

QWEN = r"""
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{%- if tools %}
    {{- '<|im_start|>system\n' + system + '\n\n# Tools\n\nYou may call these:\n<tools>' }}
    {%- for tool in tools %}
        {{- '\n' + (tool | tojson) }}
    {%- endfor %}
    {{- '\n</tools>\n\nFor each call write a JSON object with name and arguments within ' }}
    {{- '<tool_call></tool_call> tags.<|im_end|>\n' }}
{%- elif system %}
    {{- '<|im_start|>system\n' + system + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '\n' if message.content or not loop.first }}
            {{- '<tool_call>\n{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {{- '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
    {%- if enable_thinking is defined %}
        {{- '<think>\n' if enable_thinking else '<think>\n\n</think>\n\n' }}
    {%- endif %}
{%- endif %}
"""
"""Hermes' calls, which are Qwen's, and the switch of Qwen's reasoning."""

MISTRAL = r"""
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- if tools and loop.last %}
            {{- '[AVAILABLE_TOOLS] ' + (tools | tojson) + '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.role == 'assistant' and message.tool_calls %}
        {{- ' [TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {{- ', ' if not loop.first }}
            {{- '{"name": "' + call.function.name + '", "arguments": ' }}
            {{- (call.function.arguments | tojson) + '}' }}
        {%- endfor %}
        {{- ']<|im_end|>' }}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content + '<|im_end|>' }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS] {"content": ' + (message.content | tojson) + '}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}
"""
"""A list of calls behind one marker, and no system messages."""

GPT_OSS = r"""
{%- if reasoning_effort is not defined %}
    {%- set reasoning_effort = 'medium' %}
{%- endif %}
{{- '<|start|>system<|message|>Reasoning: ' + reasoning_effort + '<|end|>' }}
{%- for message in messages %}
    {{- '<|start|>' + message.role + '<|message|>' + message.content + '<|end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start|>assistant' }}
{%- endif %}
"""
"""Tells the effort that reasoning is worth."""


def with_template(model: Path, folder: Path, template: str) -> Path:
    """A copy of a converted model that has this chat template."""
    shutil.copytree(model, folder)
    path = folder / "openvino_tokenizer.xml"
    tree = ElementTree.parse(path)
    [place] = tree.iter("chat_template")
    place.set("value", template)
    tree.write(path)
    return folder
