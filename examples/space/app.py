"""A page for a Hugging Face Space:  pip install -r examples/space/requirements.txt; python examples/space/app.py"""

import gradio as gr

import mien

NOTICE = """
**What it infers**: which of seven expressions each face shows, and how probable that is. An expression is not a
feeling; search engines call this "emotion recognition". **What is kept**: nothing. Gradio's temporary copy of the
photo is deleted within two minutes. **What is forbidden**: in the European Union, inferring emotions from faces at work
and in education ([Regulation (EU) 2024/1689, Article 5(1)(f)](https://eur-lex.europa.eu/eli/reg/2024/1689/oj); in plain
words in mien's `docs/model-card.md#the-law-in-plain-words`)."""
recognizer = mien.Recognizer()


def recognise(photo):
    """RGB uint8 (H, W, 3) -> the photo with its faces marked, and a line for each face."""
    if photo is None:
        raise gr.Error("Choose a photo first.")
    faces = recognizer.recognize(photo)
    lines = [
        f"{face.expression} {face.probability:.0%}{' (uncertain)' * face.uncertain}"
        for face in faces
    ]
    return faces.plot(), "\n".join(lines) or "No face was found."


demo = gr.Interface(
    recognise,
    inputs=gr.Image(type="numpy", label="Your photo", sources=["upload", "webcam", "clipboard"]),
    outputs=[gr.Image(label="Faces"), gr.Textbox(label="Expressions, from left to right")],
    title="mien: facial expressions in a photo",
    description=NOTICE,
    flagging_mode="never",  # its button would keep photos
    delete_cache=(60, 60),  # every 60 s, what is older than 60 s
)

if __name__ == "__main__":
    demo.launch()
